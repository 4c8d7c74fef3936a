#!/usr/bin/env bash
# Sizes and speeds beside their targets, of release builds: `make bench`. It asserts nothing; docs/benchmarks.md explains misses.
#
# The warmer is built static where that is possible. What stands in for others (policy host, simulated Harbor) is built
# as in the tests, unoptimised: the policy's own code is compiled by the host's compiler all the same, and the simulated
# Harbor is as slow for curl as it is for the warmer.
#
#   BENCH_SECONDS=10    how long each load lasts
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

target_dir=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
export CARGO_TARGET_DIR=$target_dir

scripts/require.sh wasm-target curl

# The binary that is shipped, where a C compiler for it can be had.
machine=$(uname -m)
architecture=${machine/x86_64/amd64}
architecture=${architecture/aarch64/arm64}
can_link_statically() {
    command -v cargo-zigbuild >/dev/null || command -v musl-gcc >/dev/null && return
    command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
    DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends musl-tools >&2
}

# One after another, and behind everything else that the machine does.
build() { nice cargo build --quiet --locked "$@"; }

if can_link_statically; then
    linkage=static
    nice scripts/build-warmer.sh "$architecture" "$target_dir/dist"
    warmer=$target_dir/dist/harbor-warmer-$architecture
else
    linkage="dynamic (no musl-gcc here)"
    build --profile warmer -p harbor-warmer-cli
    warmer=$target_dir/warmer/harbor-warmer
fi
build --release -p harbor-warmer-policy --target wasm32-wasip1
build --release -p harbor-warmer-bench
build -p harbor-warmer-policy-host -p harbor-warmer-simulator

"$target_dir/release/bench" \
    --warmer "$warmer" --linkage "$linkage" \
    --wasm "$target_dir/wasm32-wasip1/release/harbor_warmer_policy.wasm" \
    --policy-host "$target_dir/debug/policy-host" --simulator "$target_dir/debug/harbor-simulator" \
    --seconds "${BENCH_SECONDS:-10}"
