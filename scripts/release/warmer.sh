#!/usr/bin/env bash
# Publishes the warmer's image of the binaries that scripts/build-warmer.sh built, signed, with its SBOM.
#
#   scripts/release/warmer.sh ghcr.io/harbor-warmer v0.1.0      pushes ghcr.io/harbor-warmer/harbor-warmer:v0.1.0
#
# Prints the pushed list's NAME@DIGEST. The files of the release come into DIST (default: target/dist), where the
# binaries are. Credentials are those of `docker login`; SIGNING_KEY as for scripts/release/sign.sh.
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/../.."
scripts/check-versions.sh "$2" >&2
dist=${DIST:-target/dist}
name=$1/harbor-warmer
digest_file=$(mktemp)
trap 'rm -f "$digest_file"' EXIT

credentials=${DOCKER_CONFIG:-$HOME/.docker}/config.json
if [ -z "${REGISTRY_AUTH_FILE:-}" ] && [ -f "$credentials" ]; then
    export REGISTRY_AUTH_FILE=$credentials
fi
scripts/release/sbom.sh harbor-warmer "$dist/harbor-warmer-sbom.spdx.json"
scripts/release/sign.sh "$dist/harbor-warmer-sbom.spdx.json" >&2
PUSH=docker://$name:$2 DIGEST_FILE=$digest_file scripts/image.sh "$name:$2" >&2
reference=$name@$(cat "$digest_file")
scripts/release/sign.sh "$reference" "$dist/harbor-warmer-sbom.spdx.json" >&2
echo "$reference"
