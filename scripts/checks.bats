#!/usr/bin/env bats
# The checks themselves: each finds what it is there to find, in a copy of the tree.

bats_require_minimum_version 1.5.0

setup() {
  root=$BATS_TEST_DIRNAME/..
  copy=$BATS_TEST_TMPDIR/copy
  mkdir "$copy"
  (cd "$root" && tar -c --exclude=target --exclude=.git --exclude='*.wasm' .) | tar -x -C "$copy"
  cd "$copy"
}

# refused WORDS: the support matrix is, in these words
refused() {
  run --separate-stderr scripts/support-matrix.py --check
  echo "stderr = ${stderr}"
  [ "$status" -eq 1 ]
  [[ "$stderr" == *"$1"* ]]
}

@test "the support matrix is what everything says" {
  scripts/support-matrix.py --check
}

@test "another policy server in the chart is found" {
  sed -i 's/policy-server:v[0-9.]*/policy-server:v1.99.0/' charts/harbor-warmer/values.yaml
  refused "policyServer.image says 1.99.0"
}

@test "another policy server in a document is found, with its line" {
  printf '\n    image: ghcr.io/kubewarden/adm-controller/policy-server:v1.99.0\n' >>docs/operations.md
  refused "docs/operations.md:$(wc -l <docs/operations.md) says 1.99.0"
}

@test "another oldest Kubewarden in metadata.yml is found" {
  sed -i 's/^minimumKubewardenVersion: .*/minimumKubewardenVersion: 1.99.0/' metadata.yml
  refused "minimumKubewardenVersion says 1.99.0"
}

@test "a document that is silent on the oldest Kubewarden is found" {
  sed -i 's/ or newer/ at least/g' docs/install.md
  refused "have to say from which Kubewarden on"
}

@test "another kwctl is found, in the scripts and in the workflows" {
  sed -i '/^    kwctl)/,/;;/s/version=v.*/version=v1.99.0/' scripts/ci-tools.sh
  sed -i 's/kwctl: \[v[^]]*\]/kwctl: [v1.98.0]/' .github/workflows/test.yml
  refused "scripts/ci-tools.sh: kwctl says 1.99.0"
  [[ "$stderr" == *"kwctl of the job policy says ['v1.98.0']"* ]]
}

@test "a run that says nothing of when and how is refused" {
  printf '  - {system: Harbor, version: 2.99.0, run: {where: README.md}}\n' >>support.yml
  refused "Harbor 2.99.0: a run needs its date and how it was done"
}

@test "a table that was not written again is stale, and is written" {
  printf '  - {system: Harbor, version: 2.99.0}\n' >>support.yml
  refused "is stale"
  scripts/support-matrix.py
  scripts/support-matrix.py --check
  grep -F '| Harbor | 2.99.0 | **not run** |' README.md
}

@test "where kwctl is meant to be the host, its absence fails" {
  REQUIRE_KWCTL=1 KWCTL=no-such-kwctl run bats e2e.bats
  echo "output = ${output}"
  [ "$status" -ne 0 ]
  [[ "$output" == *"no-such-kwctl is not installed, and REQUIRE_KWCTL says"* ]]
  REQUIRE_KWCTL=1 run make KWCTL=no-such-kwctl -o policy.wasm annotated-policy.wasm
  [ "$status" -ne 0 ]
  [[ "$output" == *"no-such-kwctl is not installed"* ]]
}

@test "the host that ran the policy is said aloud" {
  printf '#!/bin/sh\necho "kwctl 9.9.9"\n' >"$BATS_TEST_TMPDIR/kwctl"
  chmod +x "$BATS_TEST_TMPDIR/kwctl"
  KWCTL=$BATS_TEST_TMPDIR/kwctl run bats --tap e2e.bats
  [[ "$output" == *"# host: kwctl 9.9.9"* ]]
}
