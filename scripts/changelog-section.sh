#!/usr/bin/env bash
# Prints what CHANGELOG.md says of one version; fails when it says nothing.
#
#   scripts/changelog-section.sh 0.1.0
set -euo pipefail
cd "$(dirname "$0")/.."

section=$(awk -v version="${1#v}" '
    /^## / { inside = ($2 == version || $2 == "[" version "]"); next }
    inside' CHANGELOG.md)
if [ -z "${section//[[:space:]]/}" ]; then
    echo "error: CHANGELOG.md has no section \`## ${1#v}\`" >&2
    exit 1
fi
printf '%s\n' "$section"
