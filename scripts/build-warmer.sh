#!/usr/bin/env bash
# Builds the warmer as a static musl binary for one architecture, with cargo-zigbuild (`scripts/ci-tools.sh DIR zig`).
#
#   scripts/build-warmer.sh amd64|arm64 [DIRECTORY]      gives DIRECTORY/harbor-warmer-ARCH (default: target/dist)
set -euo pipefail

case ${1:-} in
amd64) target=x86_64-unknown-linux-musl ;;
arm64) target=aarch64-unknown-linux-musl ;;
*)
    echo "usage: $0 amd64|arm64 [DIRECTORY]" >&2
    exit 2
    ;;
esac
root=$(cd "$(dirname "$0")/.." && pwd)
target_dir=${CARGO_TARGET_DIR:-$root/target}
output=${2:-$root/target/dist}
cargo_home=${CARGO_HOME:-$HOME/.cargo}

export RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$root=/src"
mkdir -p "$output"
(cd "$root" && cargo zigbuild --locked --release --package harbor-warmer --bin harbor-warmer --target "$target")
cp "$target_dir/$target/release/harbor-warmer" "$output/harbor-warmer-$1"
