#!/usr/bin/env bash
# Builds the warmer's image from binaries that exist already (scripts/build-warmer.sh), with buildah and no daemon.
#
#   scripts/image.sh IMAGE [ARCH...]
#
#   IMAGE    the name with its tag, such as ghcr.io/harbor-warmer/harbor-warmer:v0.1.0; a manifest list of this name
#            is made, with an image for each architecture (default: amd64 arm64)
#
#   DIST         where the binaries are (default: target/dist)
#   CA_FILE      the certificate authorities (default: Debian's, from the package ca-certificates)
#   PUSH         where to push the list, such as docker://ghcr.io/…:v0.1.0 or oci-archive:warmer.tar; nowhere if unset
#   DIGEST_FILE  where to write the pushed list's digest; nowhere if unset
set -euo pipefail
cd "$(dirname "$0")/.."

# What Kubernetes pulls before a first start; a bigger one means that something crept in.
readonly largest_bytes=$((10 * 1000 * 1000))

[ $# -ge 1 ] || { sed -n '2,12s/^# \{0,1\}//p' "$0" >&2; exit 2; }
image=$1
shift
[ $# -gt 0 ] || set -- amd64 arm64
dist=${DIST:-target/dist}
ca_file=${CA_FILE:-/etc/ssl/certs/ca-certificates.crt}
version=$(sed -nE 's/^version = "(.+)"/\1/p' Cargo.toml | head -n 1)
revision=$(git rev-parse HEAD)
# The commit's time on every file and in the configuration: the same commit gives the same image.
timestamp=$(git log -1 --format=%ct)

context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
mkdir -p "$context/data" "$context/var/lib"
install -m 644 "$ca_file" "$context/ca-certificates.crt"
buildah manifest rm "$image" >/dev/null 2>&1 || true
buildah manifest create "$image" >/dev/null
for arch in "$@"; do
    binary=$dist/harbor-warmer-$arch
    [ -f "$binary" ] || { echo "error: $binary is missing; run scripts/build-warmer.sh $arch" >&2; exit 1; }
    install -m 755 "$binary" "$context/"
    id=$(buildah build --quiet --platform "linux/$arch" --timestamp "$timestamp" --file Dockerfile \
        --build-arg "TARGETARCH=$arch" --build-arg "VERSION=$version" --build-arg "REVISION=$revision" "$context")
    buildah manifest add "$image" "$id" >/dev/null
    buildah push --quiet "$id" "oci-archive:$context/$arch.tar"
    bytes=$(stat -c %s "$context/$arch.tar")
    echo "$image linux/$arch: $bytes bytes compressed"
    [ "$bytes" -le "$largest_bytes" ] || { echo "error: more than $largest_bytes bytes" >&2; exit 1; }
done
if [ -n "${PUSH:-}" ]; then
    buildah manifest push --all --format oci ${DIGEST_FILE:+--digestfile "$DIGEST_FILE"} "$image" "$PUSH"
fi
