#!/usr/bin/env bash
# Prints what the changelog says of one version; fails when it says nothing.
#
#   scripts/changelog-section.sh 0.1.0 [FILE]      (default: CHANGELOG.md)
set -euo pipefail

[ $# -ge 1 ] || { sed -n '2,4s/^# \{0,1\}//p' "$0" >&2; exit 2; }
version=${1#v}
file=${2:-$(dirname "$0")/../CHANGELOG.md}

# The targets of the headings' links stand at the end of the file, after the last section.
section=$(awk -v version="$version" '
    /^## / { inside = ($2 == version || $2 == "[" version "]"); next }
    /^\[[^]]+\]: / { next }
    inside' "$file")
if [ -z "${section//[[:space:]]/}" ]; then
    echo "error: $(basename "$file") has no section \`## $version\`" >&2
    exit 1
fi
# Without the blank lines around it.
sed -e '/./,$!d' <<<"$section"
