#!/usr/bin/env bash
# Signs what a release consists of, without a key: the identity is that of the workflow.
#
#   scripts/release/sign.sh NAME@sha256:DIGEST         an artifact in a registry
#   scripts/release/sign.sh NAME@sha256:DIGEST SBOM    and attaches its SBOM as a signed attestation
#   scripts/release/sign.sh FILE                       a file; gives FILE.bundle.sigstore
#
#   SIGNING_KEY  a private key of cosign's to sign with instead (COSIGN_PASSWORD opens it). Nothing is written to
#                Sigstore's transparency log then, and no network is needed but the registry's.
set -euo pipefail

# Every default that changed between cosign 2 and 3 is said here: the same files come out of both.
old=(--yes --new-bundle-format=false --use-signing-config=false)
if [ -n "${SIGNING_KEY:-}" ]; then
    key=(--key "$SIGNING_KEY" --tlog-upload=false)
    old+=("${key[@]}")
    new=(--yes --new-bundle-format=true --use-signing-config=false "${key[@]}")
else
    new=(--yes --new-bundle-format=true --use-signing-config=true)
fi

case ${1:-} in
*@sha256:*)
    # Twice: Kubewarden's verifier, among others, reads the signatures of the old format alone, which knows no
    # signing configuration; newer ones prefer the new format.
    cosign sign "${old[@]}" "$1"
    cosign sign "${new[@]}" "$1"
    if [ -n "${2:-}" ]; then
        cosign attest "${new[@]}" --type spdxjson --predicate "$2" "$1"
    fi
    ;;
?*)
    cosign sign-blob "${new[@]}" --bundle "$1.bundle.sigstore" "$1" >/dev/null
    ;;
*)
    sed -n '2,10s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
