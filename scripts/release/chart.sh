#!/usr/bin/env bash
# Publishes the chart: packages it, pushes it and signs it.
#
#   scripts/release/chart.sh ghcr.io/harbor-warmer v0.1.0      pushes ghcr.io/harbor-warmer/charts/harbor-warmer:0.1.0
#
# Prints the pushed chart's NAME@DIGEST. The package comes into DIST (default: target/dist). Credentials are those of
# `docker login`; SIGNING_KEY as for scripts/release/sign.sh.
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/../.."
scripts/check-versions.sh "$2" >&2
dist=${DIST:-target/dist}
mkdir -p "$dist"

helm package charts/harbor-warmer --destination "$dist" >&2
pushed=$(helm push "$dist/harbor-warmer-${2#v}.tgz" "oci://$1/charts" \
    --registry-config "${DOCKER_CONFIG:-$HOME/.docker}/config.json" 2>&1) || { echo "$pushed" >&2; exit 1; }
echo "$pushed" >&2
digest=$(sed -n 's/^Digest: //p' <<<"$pushed")
reference=$1/charts/harbor-warmer@$digest
scripts/release/sign.sh "$reference" >&2
echo "$reference"
