#!/usr/bin/env bash
# Signs an artifact in a registry without a key: the identity is the workflow's. Twice, since Kubewarden's verifier
# and older ones read the old bundle format, and newer ones prefer the new.
#
#   scripts/sign.sh ghcr.io/harbor-warmer/harbor-warmer@sha256:…
set -euo pipefail

case ${1:-} in
*@sha256:*) ;;
*)
    echo "usage: $0 NAME@sha256:DIGEST" >&2
    exit 2
    ;;
esac
cosign sign --yes --new-bundle-format=false --use-signing-config=false "$1"
cosign sign --yes --new-bundle-format=true --use-signing-config=true "$1"
