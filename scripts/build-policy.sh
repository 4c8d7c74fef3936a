#!/usr/bin/env bash
# Builds policy.wasm so that the same commit gives the same bytes wherever it is checked out and wherever Cargo keeps
# its sources. Two things of the place would get in otherwise: the paths of the panic messages, and a newer dependency.
#
#   scripts/build-policy.sh [OUTPUT]
set -euo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
output=${1:-$root/policy.wasm}
cargo_home=${CARGO_HOME:-$HOME/.cargo}
target_dir=${CARGO_TARGET_DIR:-$root/target}

# What the caller wants of rustc comes first; the variable wins over any configuration file.
export RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$root=/src"
# `strip` leaves the names of the functions, a fifth of what every policy server fetches; a panic tells its file and line.
RUSTFLAGS+=" -C link-arg=--strip-all"
# A configured wrapper or incremental state would be a second source of the bytes.
export CARGO_INCREMENTAL=0

(cd "$root" && cargo build --locked --release --target wasm32-wasip1)
cp "$target_dir/wasm32-wasip1/release/harbor_warmer_policy.wasm" "$output"
