#!/usr/bin/env bash
# Checks the workflows: actionlint finds nothing, and every action of somebody else is pinned by a commit.
#
#   scripts/check-workflows.sh
#
# actionlint is built from the Go module proxy where it isn't installed yet.
set -euo pipefail
cd "$(dirname "$0")/.."

# renovate: go github.com/rhysd/actionlint
version=v1.7.12
tools=${XDG_CACHE_HOME:-$HOME/.cache}/harbor-warmer/bin
actionlint=$(command -v actionlint || true)
if [ -z "$actionlint" ]; then
    actionlint=$tools/actionlint
    [ -x "$actionlint" ] || GOBIN=$tools go install "github.com/rhysd/actionlint/cmd/actionlint@$version"
fi
"$actionlint" .github/workflows/*.yml

unpinned=$(grep -nE '^[[:space:]-]*uses:' .github/workflows/*.yml | grep -vE 'uses: (\./|[^@ ]+@[0-9a-f]{40} # v)' || true)
if [ -n "$unpinned" ]; then
    echo "error: pin these by commit, with the version as comment:" >&2
    echo "$unpinned" >&2
    exit 1
fi
echo "the workflows are in order"
