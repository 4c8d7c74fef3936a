#!/usr/bin/env bats
# The parts of a release that need no registry: the changelog's section, the versions, the checksums, and the branch
# that Artifact Hub reads. rehearsal.bats plays the whole.

bats_require_minimum_version 1.5.0

setup() {
  root=$BATS_TEST_DIRNAME/../..
  cd "$BATS_TEST_TMPDIR"
}

changelog() {
  cat >CHANGELOG.md <<'END'
# Changelog

## [Unreleased]

- Not yet.

## [1.10.0] - 2026-02-01

### Added

- Ten.

## [1.1.0] - 2026-01-01

- One.

## [1.0.0] - 2025-12-01

[1.1.0]: https://example.com/v1.1.0
END
}

@test "a version's section of the changelog is what stands between its heading and the next" {
  changelog
  run "$root/scripts/changelog-section.sh" v1.10.0 CHANGELOG.md
  [ "$status" -eq 0 ]
  [ "$output" = $'### Added\n\n- Ten.' ]
}

@test "a version that begins like another has a section of its own" {
  changelog
  run "$root/scripts/changelog-section.sh" 1.1.0 CHANGELOG.md
  [ "$status" -eq 0 ]
  [ "$output" = "- One." ]
}

@test "a version without a section, or with links alone in it, is refused" {
  changelog
  local version
  for version in 1.1 2.0.0 1.0.0; do
    run "$root/scripts/changelog-section.sh" "$version" CHANGELOG.md
    [ "$status" -eq 1 ]
    [ "$output" = "error: CHANGELOG.md has no section \`## $version\`" ]
  done
}

@test "the changelog has a section for the version that the crates have" {
  local version
  version=$(sed -nE 's/^version = "(.+)"/\1/p' "$root/Cargo.toml")
  "$root/scripts/changelog-section.sh" "v$version"
}

@test "a tag of another version is refused" {
  run "$root/scripts/check-versions.sh" v9.9.9
  [ "$status" -eq 1 ]
  [[ $output == *"error: the tag says \`9.9.9\`"* ]]
}

# A cosign that only writes down what it was asked.
stub_cosign() {
  mkdir bin
  cat >bin/cosign <<END
#!/bin/sh
echo "\$*" >>$PWD/asked
END
  chmod +x bin/cosign
  PATH=$PWD/bin:$PATH
}

@test "the checksums are of every file but themselves, also when they are written again" {
  stub_cosign
  mkdir files
  echo one >files/one
  echo two >files/-two
  "$root/scripts/release/checksums.sh" files
  touch files/SHA256SUMS.bundle.sigstore
  "$root/scripts/release/checksums.sh" files
  run cat files/SHA256SUMS
  [ "${#lines[@]}" -eq 2 ]
  (cd files && sha256sum --check --quiet SHA256SUMS)
  grep -q 'sign-blob .*--bundle SHA256SUMS.bundle.sigstore SHA256SUMS$' asked
}

@test "an artifact is signed in both formats, without a key unless one is named" {
  stub_cosign
  "$root/scripts/release/sign.sh" example.com/a@sha256:00
  run ! grep -q -- --key asked
  [ "$(grep -c '^sign .*--new-bundle-format=false .*example.com/a@sha256:00$' asked)" -eq 1 ]
  [ "$(grep -c '^sign .*--new-bundle-format=true .*example.com/a@sha256:00$' asked)" -eq 1 ]
  rm asked
  SIGNING_KEY=my.key "$root/scripts/release/sign.sh" example.com/a@sha256:00 sbom.json
  [ "$(grep -c -- '--key my.key --tlog-upload=false' asked)" -eq 3 ]
  grep -q '^attest .*--type spdxjson --predicate sbom.json example.com/a@sha256:00$' asked
}

# A clone with the tags v1.0.0 and v1.1.0, its remote beside it.
repository() {
  git init --quiet --bare remote.git
  git init --quiet clone
  mkdir -p clone/scripts/release
  cp "$root/scripts/release/artifacthub.sh" clone/scripts/release
  local version
  for version in 1.0.0 1.1.0; do
    printf "version: %s\ncreatedAt: '2000-01-01T00:00:00Z'\n" "$version" >clone/artifacthub-pkg.yml
    echo "owners: []" >clone/artifacthub-repo.yml
    echo "read $version" >clone/README.md
    git -C clone add .
    git -C clone -c user.name=a -c user.email=a@example.com commit --quiet --message "$version"
    git -C clone tag "v$version"
  done
  git -C clone remote add origin "file://$PWD/remote.git"
  git -C clone push --quiet origin v1.0.0 v1.1.0
}

@test "Artifact Hub's branch holds the released state alone, with the time of the release" {
  repository
  clone/scripts/release/artifacthub.sh v1.0.0
  [ "$(git -C remote.git ls-tree --name-only artifacthub | xargs)" = "README.md artifacthub-pkg.yml artifacthub-repo.yml" ]
  [ "$(git -C remote.git show artifacthub:README.md)" = "read 1.0.0" ]
  git -C remote.git show artifacthub:artifacthub-pkg.yml | grep -qx 'version: 1.0.0'
  run git -C remote.git show artifacthub:artifacthub-pkg.yml
  [[ $output != *2000-01-01* ]]
}

@test "the next release goes on where the branch was, also from a clone of one commit" {
  repository
  clone/scripts/release/artifacthub.sh v1.0.0
  git clone --quiet --depth 1 --branch v1.1.0 "file://$PWD/remote.git" shallow 2>/dev/null
  shallow/scripts/release/artifacthub.sh v1.1.0
  [ "$(git -C remote.git log --format=%s artifacthub | xargs)" = "Publish v1.1.0 Publish v1.0.0" ]
  [ "$(git -C remote.git show artifacthub:README.md)" = "read 1.1.0" ]
  # What was checked out is as it was.
  [ -z "$(git -C shallow status --porcelain)" ]
}
