#!/usr/bin/env bash
# What no other tool checks: the rules that docs/ARCHITECTURE.md calls invariants, as far as text shows them.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

failed=0
complain() {
    echo "tidy: $*" >&2
    failed=1
}

# Kubewarden's release workflow reads the version with sed and expects one line.
[ "$(grep -c '^version = "' Cargo.toml)" = 1 ] || complain "Cargo.toml needs exactly one line that starts with: version = \""
! grep -q '^default-members' Cargo.toml || complain "Cargo.toml must have no default-members: the root builds the policy alone"

# The contract is shared with a wasm module: no I/O, no async, nothing heavy.
dependencies=$(sed -n '/^\[dependencies\]/,/^\[/p' crates/protocol/Cargo.toml | grep -oE '^[a-z0-9_-]+' | sort | xargs)
[ "$dependencies" = "serde serde_json" ] || complain "crates/protocol may depend on serde and serde_json only, not on: $dependencies"

# Decisions are handed the time.
clocks=$(git grep -nE '(SystemTime|jiff::Timestamp)::now' -- 'crates/warmer/src/*.rs' ':!crates/warmer/src/clock.rs' || true)
[ -z "$clocks" ] || complain "only clock.rs reads the clock:"$'\n'"$clocks"

# Only the store touches SQLite, only harbor/ builds requests to a Harbor.
sqlite=$(git grep -lE '\brusqlite::' -- 'crates/warmer/src/*.rs' ':!crates/warmer/src/store.rs' ':!crates/warmer/src/store/*' || true)
[ -z "$sqlite" ] || complain "only the store knows SQLite: $sqlite"

while read -r lines file; do
    [ "$lines" -le 750 ] || complain "$file has $lines lines; split it along what it is about"
done < <(git ls-files '*.rs' | xargs wc -l | grep -v ' total$')

paths=$(git grep -nE '(/root/|/home/[a-z]|/work/(main|shared|lab))' -- ':!scripts/tidy.sh' || true)
[ -z "$paths" ] || complain "paths of one machine:"$'\n'"$paths"

exit "$failed"
