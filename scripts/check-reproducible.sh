#!/usr/bin/env bash
# Builds the policy of the current commit from two clean clones at different paths, the second with another home of
# Cargo, and fails unless the bytes are the same.
#
#   scripts/check-reproducible.sh
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
first=$work/one
second=$work/another/place/of/another/length
git clone --quiet . "$first"
git clone --quiet . "$second"

CARGO_TARGET_DIR=$work/target-one "$first/scripts/build-policy.sh" "$work/one.wasm"
# The sources themselves needn't be fetched twice.
mkdir "$work/cargo-home"
ln -s "${CARGO_HOME:-$HOME/.cargo}/registry" "$work/cargo-home/registry"
CARGO_HOME=$work/cargo-home CARGO_TARGET_DIR=$work/target-two "$second/scripts/build-policy.sh" "$work/another.wasm"

sha256sum "$work/one.wasm" "$work/another.wasm"
cmp "$work/one.wasm" "$work/another.wasm"
if grep -aqE "$work|${CARGO_HOME:-$HOME/.cargo}/" "$work/one.wasm"; then
    echo "error: the module holds a path of this machine" >&2
    exit 1
fi
echo "the same bytes from both"
