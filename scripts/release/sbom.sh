#!/usr/bin/env bash
# Writes the SBOM of the current commit, as SPDX in JSON: what Cargo.lock names, and the actions of the workflows.
#
#   scripts/release/sbom.sh NAME FILE
#
# Only what is committed is read, so what was built beside it makes no difference.
set -euo pipefail

[ $# -eq 2 ] || { echo "usage: $0 NAME FILE" >&2; exit 2; }
root=$(cd "$(dirname "$0")/../.." && pwd)
commit=$(mktemp -d)
trap 'rm -rf "$commit"' EXIT
git -C "$root" archive HEAD | tar -x -C "$commit"
syft scan --quiet --output "spdx-json=$2" --source-name "$1" --source-version "$(git -C "$root" rev-parse HEAD)" \
    "dir:$commit"
