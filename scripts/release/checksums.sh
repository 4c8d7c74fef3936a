#!/usr/bin/env bash
# Writes SHA256SUMS of the files in a directory, and signs it.
#
#   scripts/release/checksums.sh DIRECTORY
#
# SIGNING_KEY as for scripts/release/sign.sh.
set -euo pipefail

[ $# -eq 1 ] || { sed -n '2,6s/^# \{0,1\}//p' "$0" >&2; exit 2; }
sign=$(cd "$(dirname "$0")" && pwd)/sign.sh
cd "$1"
# A second run says the same as the first.
rm -f SHA256SUMS SHA256SUMS.bundle.sigstore
sums=$(sha256sum -- *)
printf '%s\n' "$sums" >SHA256SUMS
"$sign" SHA256SUMS
