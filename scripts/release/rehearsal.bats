#!/usr/bin/env bats
# The release, played: everything is published to a registry of this machine's, with TLS and credentials, by the scripts
# that the workflow calls, signed with a key that is made here instead of the workflow's identity, and verified as a user
# would. Nothing leaves the machine.
#
# Needs policy.wasm and both of the warmer's binaries in target/dist (or BINARIES), and the programs that are named below;
# cosign and syft can be had with `go install`, from github.com/sigstore/cosign/v3/cmd/cosign and
# github.com/anchore/syft/cmd/syft.

bats_require_minimum_version 1.5.0

setup_file() {
  # Backtraces in kwctl's error texts would be noise here.
  unset RUST_BACKTRACE
  cd "$BATS_TEST_DIRNAME/../.."
  # Where scripts/check-chart.sh keeps helm.
  PATH=$PATH:/usr/sbin:${XDG_CACHE_HOME:-$HOME/.cache}/harbor-warmer/bin
  export PATH
  local program
  for program in cosign kwctl syft helm buildah skopeo docker-registry openssl jq curl; do
    command -v "$program" >/dev/null || { echo "error: $program is missing" >&2; return 1; }
  done
  export WORK=$BATS_FILE_TMPDIR
  export DIST=$WORK/dist
  mkdir "$DIST"
  cp "${BINARIES:-target/dist}"/harbor-warmer-{amd64,arm64} "$DIST" || {
    echo "error: run scripts/build-warmer.sh amd64 and arm64 first" >&2
    return 1
  }
  TAG=v$(sed -nE 's/^version = "(.+)"/\1/p' Cargo.toml)
  export TAG

  # Credentials, caches and images of this rehearsal alone.
  export HOME=$WORK/home DOCKER_CONFIG=$WORK/home/.docker
  export XDG_CONFIG_HOME=$HOME/.config XDG_CACHE_HOME=$HOME/.cache XDG_DATA_HOME=$HOME/.local/share
  mkdir -p "$DOCKER_CONFIG" "$XDG_CONFIG_HOME/kubewarden"
  cat >"$WORK/storage.conf" <<END
[storage]
driver = "vfs"
graphroot = "$WORK/storage"
runroot = "$WORK/run"
END
  export CONTAINERS_STORAGE_CONF=$WORK/storage.conf

  certificate
  registry
  export PREFIX=$REGISTRY/harbor-warmer
  printf '{"auths": {"%s": {"auth": "%s"}}}\n' "$REGISTRY" "$(printf release:rehearsal | base64)" \
    >"$DOCKER_CONFIG/config.json"
  # What stands for the authorities that a machine trusts: for programs in Go, and for kwctl.
  export SSL_CERT_FILE=$WORK/ca.crt
  printf 'source_authorities:\n  "%s":\n    - {type: Path, path: %s}\n' "$REGISTRY" "$WORK/ca.crt" \
    >"$XDG_CONFIG_HOME/kubewarden/sources.yaml"
  trust_config >"$WORK/trust.json"
  jq .trustedRoot "$WORK/trust.json" >"$WORK/trusted-root.json"

  export COSIGN_PASSWORD=rehearsal
  (cd "$WORK" && cosign generate-key-pair --output-key-prefix release && cosign generate-key-pair --output-key-prefix other)
  export SIGNING_KEY=$WORK/release.key

  POLICY=$(scripts/release/policy.sh "$PREFIX" "$TAG")
  WARMER=$(scripts/release/warmer.sh "$PREFIX" "$TAG")
  CHART=$(scripts/release/chart.sh "$PREFIX" "$TAG")
  scripts/release/checksums.sh "$DIST"
  export POLICY WARMER CHART
}

teardown_file() {
  [ ! -f "$WORK/registry.pid" ] || kill "$(cat "$WORK/registry.pid")"
}

# An authority, and the registry's certificate of it.
certificate() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 1 -subj "/CN=rehearsal" \
    -keyout "$WORK/ca.key" -out "$WORK/ca.crt" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=localhost" \
    -keyout "$WORK/registry.key" -out "$WORK/registry.csr" 2>/dev/null
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1\nbasicConstraints=CA:false\n' >"$WORK/registry.ext"
  openssl x509 -req -in "$WORK/registry.csr" -CA "$WORK/ca.crt" -CAkey "$WORK/ca.key" -CAcreateserial -days 1 \
    -extfile "$WORK/registry.ext" -out "$WORK/registry.crt" 2>/dev/null
}

# Sigstore's authorities: kwctl and cosign fetch them also where only a key is to be verified, and kwctl refuses to have
# none. These stand for them, an authority and a transparency log that have signed nothing.
trust_config() {
  openssl pkey -in "$WORK/ca.key" -pubout -outform DER -out "$WORK/ca.pub.der"
  jq --null-input \
    --arg certificate "$(openssl x509 -in "$WORK/ca.crt" -outform DER | base64 --wrap 0)" \
    --arg key "$(base64 --wrap 0 "$WORK/ca.pub.der")" \
    --arg id "$(openssl dgst -sha256 -binary "$WORK/ca.pub.der" | base64 --wrap 0)" '
    {start: "2026-01-01T00:00:00Z"} as $valid | {
      mediaType: "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
      trustedRoot: {
        mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
        certificateAuthorities: [{
          subject: {commonName: "rehearsal"}, uri: "https://fulcio.example.com", validFor: $valid,
          certChain: {certificates: [{rawBytes: $certificate}]}
        }],
        tlogs: [{
          baseUrl: "https://rekor.example.com", hashAlgorithm: "SHA2_256", logId: {keyId: $id},
          publicKey: {rawBytes: $key, keyDetails: "PKIX_ECDSA_P256_SHA_256", validFor: $valid}
        }]
      }
    }'
}

# Starts the registry, which tells its port nowhere: another one is tried where it is taken.
registry() {
  # The user `release` with the password `rehearsal`.
  echo 'release:$2b$04$08MwsWLpc/jZ6jBXH8MMaurMM7gezTeb9DyOiNsbz6/9KAT2YVxZG' >"$WORK/htpasswd"
  local try port pid waited
  for try in 1 2 3 4 5; do
    port=$((20000 + RANDOM % 20000))
    REGISTRY=localhost:$port
    cat >"$WORK/registry.yml" <<END
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: "$WORK/registry"}}
auth: {htpasswd: {realm: rehearsal, path: "$WORK/htpasswd"}}
http:
  addr: $REGISTRY
  tls: {certificate: "$WORK/registry.crt", key: "$WORK/registry.key"}
END
    docker-registry serve "$WORK/registry.yml" >"$WORK/registry.log" 2>&1 3>&- &
    pid=$!
    for ((waited = 0; waited < 100; waited++)); do
      if curl --silent --cacert "$WORK/ca.crt" --output /dev/null "https://$REGISTRY/v2/"; then
        echo "$pid" >"$WORK/registry.pid"
        export REGISTRY
        return
      fi
      kill -0 "$pid" 2>/dev/null || break
      sleep 0.1
    done
    kill "$pid" 2>/dev/null || true
  done
  echo "error: the registry doesn't start:" >&2
  cat "$WORK/registry.log" >&2
  return 1
}

# by KEY: how cosign verifies what that key signed outside of Sigstore's transparency log
by() {
  echo "--key $WORK/$1.pub --trusted-root $WORK/trusted-root.json --insecure-ignore-tlog=true"
}

# signed_by_us_alone REFERENCE: both formats of the signature hold for our key, and not for another
signed_by_us_alone() {
  local format
  for format in false true; do
    cosign verify $(by release) --new-bundle-format=$format "$1" >/dev/null
    run ! cosign verify $(by other) --new-bundle-format=$format "$1"
  done
}

# has_sbom REFERENCE NAME FILE: what is attached to the artifact is the SBOM that the release has as a file
has_sbom() {
  cosign verify-attestation $(by release) --new-bundle-format=true --type spdxjson "$1" |
    jq --exit-status '.payload | @base64d | fromjson | .predicate' >"$BATS_TEST_TMPDIR/attached.json"
  jq --exit-status --arg name "$2" '.name == $name and any(.packages[]; .name == "serde_json")' \
    "$BATS_TEST_TMPDIR/attached.json"
  cmp <(jq --sort-keys . "$BATS_TEST_TMPDIR/attached.json") <(jq --sort-keys . "$3")
  run ! cosign verify-attestation $(by other) --new-bundle-format=true --type spdxjson "$1"
}

@test "the policy is signed, and has its SBOM" {
  [[ $POLICY == "$PREFIX/policies/harbor-warmer@sha256:"* ]]
  signed_by_us_alone "$POLICY"
  has_sbom "$POLICY" harbor-warmer-policy "$DIST/policy-sbom.spdx.json"
}

@test "kwctl verifies the policy by its tag, and refuses another key" {
  local uri=registry://$PREFIX/policies/harbor-warmer:$TAG
  kwctl verify --sigstore-trust-config "$WORK/trust.json" --verification-key "$WORK/release.pub" "$uri"
  run ! kwctl verify --sigstore-trust-config "$WORK/trust.json" --verification-key "$WORK/other.pub" "$uri"
  [[ $output == *"Image verification failed"* ]]
}

# verification_config KEY
verification_config() {
  printf 'apiVersion: v1\nallOf:\n  - kind: pubKey\n    key: |\n'
  sed 's/^/      /' "$WORK/$1.pub"
}

@test "kwctl pulls the policy with a verificationConfig of our key, and with that of another it doesn't" {
  local uri=registry://$PREFIX/policies/harbor-warmer:$TAG key
  for key in release other; do verification_config "$key" >"$BATS_TEST_TMPDIR/$key.yml"; done
  kwctl pull --sigstore-trust-config "$WORK/trust.json" --verification-config-path "$BATS_TEST_TMPDIR/release.yml" \
    --output-path "$BATS_TEST_TMPDIR/policy.wasm" "$uri"
  cmp "$BATS_TEST_TMPDIR/policy.wasm" "$DIST/policy.wasm"
  # Who builds the same commit gets the same bytes.
  kwctl annotate --metadata-path metadata.yml --usage-path README.md --output-path "$BATS_TEST_TMPDIR/again.wasm" \
    policy.wasm
  cmp "$BATS_TEST_TMPDIR/again.wasm" "$DIST/policy.wasm"
  run ! kwctl pull --sigstore-trust-config "$WORK/trust.json" \
    --verification-config-path "$BATS_TEST_TMPDIR/other.yml" --output-path "$BATS_TEST_TMPDIR/other.wasm" "$uri"
  [ ! -e "$BATS_TEST_TMPDIR/other.wasm" ]
}

@test "the published policy carries its metadata and its documentation" {
  kwctl inspect --output yaml "$DIST/policy.wasm" >"$BATS_TEST_TMPDIR/metadata.yml"
  grep -q "io.kubewarden.policy.version: ${TAG#v}" "$BATS_TEST_TMPDIR/metadata.yml"
  grep -q "io.kubewarden.policy.usage" "$BATS_TEST_TMPDIR/metadata.yml"
}

@test "the image is one for both architectures, signed, and has its SBOM" {
  [[ $WARMER == "$PREFIX/harbor-warmer@sha256:"* ]]
  local found arch
  found=$(skopeo inspect --raw "docker://$PREFIX/harbor-warmer:$TAG" |
    jq --compact-output '[.manifests[].platform | "\(.os)/\(.architecture)"] | sort')
  [ "$found" = '["linux/amd64","linux/arm64"]' ]
  for arch in amd64 arm64; do
    found=$(skopeo inspect --config --override-arch "$arch" "docker://$WARMER" |
      jq --raw-output '.config | "\(.User) \(.Labels["org.opencontainers.image.version"])"')
    [ "$found" = "65532:65532 ${TAG#v}" ]
  done
  signed_by_us_alone "$WARMER"
  has_sbom "$WARMER" harbor-warmer "$DIST/harbor-warmer-sbom.spdx.json"
}

@test "the chart is signed, and pulled it is the one of the release" {
  [[ $CHART == "$PREFIX/charts/harbor-warmer@sha256:"* ]]
  signed_by_us_alone "$CHART"
  helm pull "oci://$PREFIX/charts/harbor-warmer" --version "${TAG#v}" --registry-config "$DOCKER_CONFIG/config.json" \
    --destination "$BATS_TEST_TMPDIR"
  cmp "$BATS_TEST_TMPDIR/harbor-warmer-${TAG#v}.tgz" "$DIST/harbor-warmer-${TAG#v}.tgz"
}

@test "what the chart installs was published with it" {
  local references reference
  # Without a cluster helm takes the oldest that it knows.
  references=$(helm template harbor-warmer "$DIST/harbor-warmer-${TAG#v}.tgz" --namespace kubewarden \
    --kube-version 1.33.0 --values charts/tests/values/replication.yaml |
    grep -oE 'ghcr\.io/harbor-warmer/[^"[:space:]]+' | sort --unique)
  echo "$references"
  [ "$(wc --lines <<<"$references")" -eq 2 ]
  for reference in $references; do
    skopeo inspect --raw "docker://$PREFIX/${reference#ghcr.io/harbor-warmer/}" >/dev/null
  done
}

@test "what Artifact Hub reads names what was published" {
  local reference
  reference=$(sed -nE 's/^ +image: ghcr\.io\/harbor-warmer\/(.+)/\1/p' artifacthub-pkg.yml)
  skopeo inspect --raw "docker://$PREFIX/$reference" >/dev/null
  grep -q "releases/download/$TAG/policy.wasm" artifacthub-pkg.yml
  [ -f "$DIST/policy.wasm" ]
}

@test "the release's files are all in the checksums, which are signed" {
  cd "$DIST"
  sha256sum --check --quiet SHA256SUMS
  [ "$(cut -c 67- SHA256SUMS | xargs)" = "harbor-warmer-${TAG#v}.tgz harbor-warmer-amd64 harbor-warmer-arm64 \
harbor-warmer-sbom.spdx.json harbor-warmer-sbom.spdx.json.bundle.sigstore policy-sbom.spdx.json \
policy-sbom.spdx.json.bundle.sigstore policy.wasm" ]
  local file
  for file in SHA256SUMS policy-sbom.spdx.json harbor-warmer-sbom.spdx.json; do
    cosign verify-blob $(by release) --new-bundle-format=true --bundle "$file.bundle.sigstore" "$file"
    run ! cosign verify-blob $(by other) --new-bundle-format=true --bundle "$file.bundle.sigstore" "$file"
  done
  sed 's/policy.wasm/other.wasm/' SHA256SUMS >"$BATS_TEST_TMPDIR/SHA256SUMS"
  run ! cosign verify-blob $(by release) --new-bundle-format=true --bundle SHA256SUMS.bundle.sigstore \
    "$BATS_TEST_TMPDIR/SHA256SUMS"
}
