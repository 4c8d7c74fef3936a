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

# What a crate can name is what it can do: these three have no I/O, no async and no clock, since nothing that they
# depend on has. A new line here is a decision; docs/ARCHITECTURE.md says why each is there.
allowed() {
    local crate=$1 expected found
    expected=$(tr ' ' '\n' <<<"$2" | sort -u)
    found=$(cargo tree --locked --package "$crate" --edges normal,no-proc-macro --prefix none --format '{p}' |
        cut -d ' ' -f 1 | sort -u | grep -vx "$crate")
    local more
    more=$(comm -13 <(echo "$expected") <(echo "$found") | xargs)
    [ -z "$more" ] || complain "$crate may not depend on: $more"
}
json="itoa memchr serde serde_core serde_json zmij"
allowed harbor-warmer-protocol "$json"
allowed harbor-warmer-workload "$json harbor-warmer-protocol base64 jiff jiff-core k8s-openapi regex-lite"
allowed harbor-warmer-core "$json harbor-warmer-protocol jiff jiff-core sha2 block-buffer cfg-if const-oid cpufeatures \
crypto-common digest hybrid-array typenum thiserror"

# Decisions are handed the time.
clocks=$(git grep -nE '(SystemTime|jiff::Timestamp)::now' -- 'crates/warmer/src/*.rs' 'crates/store/src/*.rs' \
    'crates/harbor/src/*.rs' 'crates/core/src/*.rs' ':!crates/warmer/src/clock.rs' || true)
[ -z "$clocks" ] || complain "only clock.rs reads the clock:"$'\n'"$clocks"

scripts/circles.py || complain "files that import in a circle"

while read -r lines file; do
    [ "$lines" -le 750 ] || complain "$file has $lines lines; split it along what it is about"
done < <(git ls-files '*.rs' | xargs wc -l | grep -v ' total$')

paths=$(git grep -nE '(/root/|/home/[a-z]|/work/(main|shared|lab))' -- ':!scripts/tidy.sh' || true)
[ -z "$paths" ] || complain "paths of one machine:"$'\n'"$paths"

exit "$failed"
