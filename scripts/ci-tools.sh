#!/usr/bin/env bash
# Installs released programs that no package manager has, each checked against its digest: for the workflows.
#
#   scripts/ci-tools.sh DIRECTORY kwctl syft zig
set -euo pipefail

requirements=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/requirements
directory=$1
shift
mkdir -p "$directory"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

download() {
    curl --fail --silent --show-error --location --retry 3 --output "$work/$1" "$2"
    echo "$3  $work/$1" | sha256sum --check --quiet
}

for tool in "$@"; do
    case $tool in
    kwctl)
        # The oldest that is supported (support.yml), so nothing raises it by itself. The tests of the policy take
        # newer ones as well.
        version=v1.35.0
        download kwctl.zip \
            "https://github.com/kubewarden/adm-controller/releases/download/$version/kwctl-linux-x86_64.zip" \
            2f518033989a897c2f502a2f4fa90b3ca666eee976a82d045abdea5022330341
        unzip -q "$work/kwctl.zip" -d "$work"
        install -m 755 "$work/kwctl-linux-x86_64" "$directory/kwctl"
        ;;
    syft)
        # renovate: github-release-attachments anchore/syft
        version=v1.28.0
        download syft.tar.gz \
            "https://github.com/anchore/syft/releases/download/$version/syft_${version#v}_linux_amd64.tar.gz" \
            3edee7fe1ceb1f78360e547f57048930d57f00c7ec3d0b8bdfb902805f048468
        tar -xzf "$work/syft.tar.gz" -C "$work" syft
        install -m 755 "$work/syft" "$directory/syft"
        ;;
    zig)
        # zig is the C compiler and the linker of the cross builds; both come from PyPI.
        python3 -m venv "$directory/zig"
        "$directory/zig/bin/pip" install --quiet --require-hashes --only-binary :all: \
            --requirement "$requirements/zig.txt"
        # cargo-zigbuild finds zig through the Python beside it; the wrapper's PATH is that of its caller.
        # shellcheck disable=SC2016
        printf '#!/bin/sh\nPATH="%s:$PATH" exec "%s" "$@"\n' "$directory/zig/bin" "$directory/zig/bin/cargo-zigbuild" \
            >"$directory/cargo-zigbuild"
        chmod 755 "$directory/cargo-zigbuild"
        ;;
    *)
        echo "error: don't know $tool" >&2
        exit 1
        ;;
    esac
done
