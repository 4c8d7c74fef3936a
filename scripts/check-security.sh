#!/usr/bin/env bash
# Checks that every test that docs/security.md names exists: code spans of five words and more, joined by underscores.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=0
while read -r name; do
    if ! grep -rqE --include='*.rs' "fn $name\\b" crates src; then
        echo "error: docs/security.md names the test $name, which doesn't exist" >&2
        missing=1
    fi
done < <(grep -oE '`[a-z0-9]+(_[a-z0-9]+){4,}`' docs/security.md | tr -d '`' | sort -u)
[ "$missing" = 0 ] || exit 1
echo "docs/security.md names tests that exist"
