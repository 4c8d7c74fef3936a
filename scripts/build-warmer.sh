#!/usr/bin/env bash
# Builds the warmer as a static musl binary for one architecture.
#
#   scripts/build-warmer.sh amd64|arm64 [DIRECTORY]      gives DIRECTORY/harbor-warmer-ARCH (default: target/dist)
#
# Needs a C compiler for SQLite, ring and the allocator: cargo-zigbuild has one for every architecture
# (`scripts/ci-tools.sh DIR zig`); without it, musl-gcc (Debian: musl-tools) builds for the machine's own.
set -euo pipefail

case ${1:-} in
amd64) machine=x86_64 ;;
arm64) machine=aarch64 ;;
*)
    echo "usage: $0 amd64|arm64 [DIRECTORY]" >&2
    exit 2
    ;;
esac
target=$machine-unknown-linux-musl
root=$(cd "$(dirname "$0")/.." && pwd)
target_dir=${CARGO_TARGET_DIR:-$root/target}
output=${2:-$root/target/dist}
cargo_home=${CARGO_HOME:-$HOME/.cargo}

if ! [ -d "$(rustc --print target-libdir --target "$target")" ]; then
    rustup target add "$target"
fi
if command -v cargo-zigbuild >/dev/null; then
    build=zigbuild
elif [ "$(uname -m)" = "$machine" ] && command -v musl-gcc >/dev/null; then
    build=build
else
    echo "error: no C compiler for $target; run scripts/ci-tools.sh \$HOME/.local/bin zig, and have that in your PATH" >&2
    exit 1
fi

# Rust's own linker for both architectures. A position independent program lists every pointer that the start has to
# adjust; packed, the list takes a twentieth of the place.
export RUSTFLAGS="${RUSTFLAGS:+$RUSTFLAGS }--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$root=/src \
-Clinker=rust-lld -Clink-arg=--pack-dyn-relocs=relr"
mkdir -p "$output"
(cd "$root" && cargo "$build" --locked --profile warmer --package harbor-warmer-cli --bin harbor-warmer --target "$target")
install -m 755 "$target_dir/$target/warmer/harbor-warmer" "$output/harbor-warmer-$1"
