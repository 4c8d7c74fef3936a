#!/usr/bin/env bash
# Publishes the policy that scripts/build-policy.sh built: annotates it, pushes it, signs it and its SBOM.
#
#   scripts/release/policy.sh ghcr.io/harbor-warmer v0.1.0      pushes ghcr.io/harbor-warmer/policies/harbor-warmer:v0.1.0
#
# Prints the pushed artifact's NAME@DIGEST. The files of the release come into DIST (default: target/dist).
# Credentials are those of `docker login`; SIGNING_KEY as for scripts/release/sign.sh.
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/../.."
scripts/check-versions.sh "$2" >&2
dist=${DIST:-target/dist}
mkdir -p "$dist"

kwctl annotate --metadata-path metadata.yml --usage-path README.md --output-path "$dist/policy.wasm" policy.wasm >&2
scripts/release/sbom.sh harbor-warmer-policy "$dist/policy-sbom.spdx.json"
scripts/release/sign.sh "$dist/policy-sbom.spdx.json" >&2
reference=$(kwctl push --output json "$dist/policy.wasm" "registry://$1/policies/harbor-warmer:$2" |
    jq --exit-status --raw-output '.immutable_ref | ltrimstr("registry://")')
scripts/release/sign.sh "$reference" "$dist/policy-sbom.spdx.json" >&2
echo "$reference"
