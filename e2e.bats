#!/usr/bin/env bats
# The built policy under kwctl, with host calls replayed from test_data/session_*.yml; under the project's own policy
# host, which takes the same flags, where kwctl is not installed. The first line says which host it is; REQUIRE_KWCTL=1
# fails where it would not be kwctl.
#
# A replay is strictly ordered, and a call that the session doesn't hold fails. So the counts in the audit annotations
# show that the calls of a case are those of its session.

bats_require_minimum_version 1.5.0

setup_file() {
  local host
  if command -v "${KWCTL:-kwctl}" >/dev/null; then
    export RUNNER="${KWCTL:-kwctl}"
    host=$("$RUNNER" --version)
  elif [ -n "${REQUIRE_KWCTL:-}" ]; then
    echo "error: ${KWCTL:-kwctl} is not installed, and REQUIRE_KWCTL says that the policy is to run under it" >&2
    return 1
  else
    export RUNNER="${POLICY_HOST:-target/debug/policy-host}"
    host="$("$RUNNER" --version), the project's own, since kwctl is not installed"
  fi
  echo "# host: $host" >&3
  if [ -z "${POLICY:-}" ]; then
    POLICY=policy.wasm
    [ ! -f annotated-policy.wasm ] || POLICY=annotated-policy.wasm
  fi
  export POLICY
  # Backtraces in the host's error texts would be noise here.
  unset RUST_BACKTRACE
}

# evaluate REQUEST [SESSION [SETTINGS]]
evaluate() {
  run --separate-stderr "$RUNNER" run \
    --request-path "test_data/request_$1.json" \
    --replay-host-capabilities-interactions "test_data/session_${2:-none}.yml" \
    --settings-path "test_data/${3:-settings}.json" \
    "$POLICY"
  echo "output = ${output}"
  echo "stderr = ${stderr}"
  [ "$status" -eq 0 ]
  response 'true' '.allowed'
}

# response EXPECTED FILTER: what jq finds in the response, as JSON without spaces
response() {
  local found
  found=$(jq --compact-output --sort-keys "$2" <<<"$output")
  echo "$2 = $found, expected $1"
  [ "$found" = "$1" ]
}

@test "a new image is announced, resolved and handed over" {
  evaluate deployment new
  response '{"images":"1","resolved":"1"}' .auditAnnotations
  response null .warnings
}

@test "a warm image is announced and nothing else is asked" {
  evaluate deployment warm
  response '{"announced":"1","images":"1"}' .auditAnnotations
  response null .warnings
}

@test "every image of a Pod is announced once, to the target of its rule" {
  evaluate pod_several_images several_images
  response '{"announced":"2","ignored":"1","images":"3"}' .auditAnnotations
}

@test "a pinned image is announced by its digest and read without a tag" {
  evaluate pod_pinned pinned
  response '{"images":"1","resolved":"1"}' .auditAnnotations
}

@test "each wanted platform of an index is handed over" {
  evaluate deployment two_platforms settings_two_platforms
  response '{"images":"1","resolved":"1"}' .auditAnnotations
  response null .warnings
}

@test "a node selector narrows the platforms" {
  evaluate pod_arm64 arm64 settings_two_platforms
  response '{"announced":"1","images":"1"}' .auditAnnotations
}

@test "a workload on other platforms than the settings' warms nothing and says so" {
  evaluate pod_arm64
  response '{"ignored":"1","images":"1"}' .auditAnnotations
  response '["harbor-warmer: nothing is warmed: the node selection allows none of linux/amd64"]' .warnings
}

@test "an update announces only the new image" {
  evaluate deployment_update warm
  response '{"announced":"1","images":"1"}' .auditAnnotations
}

@test "an update without a new image makes no call" {
  evaluate deployment_scaled
  response null .auditAnnotations
  response null .warnings
}

@test "an ephemeral container is announced" {
  evaluate pod_debug warm
  response '{"announced":"1","images":"1"}' .auditAnnotations
}

@test "a dry run makes no call" {
  evaluate pod_dry_run
  response '{"dry-run":"1","images":"1"}' .auditAnnotations
  response null .warnings
}

@test "a deletion makes no call" {
  evaluate pod_delete
  response null .auditAnnotations
}

@test "an annotation opts out" {
  evaluate pod_opted_out
  response '{"ignored":"1","images":"1"}' .auditAnnotations
  response null .warnings
}

@test "a custom resource of the settings is read" {
  evaluate rollout two_platforms settings_two_platforms
  response '{"images":"1","resolved":"1"}' .auditAnnotations
}

@test "a Job of another API group is not taken for a Kubernetes Job" {
  evaluate volcano_job
  response null .auditAnnotations
}

@test "Veradco's example maps as Veradco maps it" {
  evaluate pod_veradco veradco settings_veradco
  response '{"announced":"1","images":"1"}' .auditAnnotations
}

@test "a missing tag is a warning" {
  evaluate deployment no_such_tag
  response '{"announced":"1","images":"1"}' .auditAnnotations
  response '["harbor-warmer: docker.io/library/nginx:1.27: Harbor'"'"'s upstream has no such tag"]' .warnings
}

@test "a missing platform is a warning" {
  evaluate deployment no_such_platform
  response '["harbor-warmer: docker.io/library/nginx:1.27: nothing in it for linux/amd64, only linux/arm64"]' .warnings
}

@test "a refusal is a warning with the warmer's reason" {
  evaluate deployment refused
  response '{"images":"1","refused":"1"}' .auditAnnotations
  response '["harbor-warmer: docker.io/library/nginx:1.27: refused by the warmer: project `dockerhub` is not configured"]' .warnings
}

@test "a warmer that is down is a warning, and the workload is allowed" {
  evaluate deployment unreachable
  response '{"failed":"1","images":"1"}' .auditAnnotations
  response '["harbor-warmer: 1 image was not handed to the warmer: not reachable: tcp connect error: Connection refused (os error 111)"]' .warnings
}

@test "refused credentials are a warning" {
  evaluate deployment unauthorized
  response '["harbor-warmer: 1 image was not handed to the warmer: the policy server'"'"'s credentials are refused"]' .warnings
}

@test "a controller's Pod gets no warning" {
  evaluate pod_controlled no_such_tag
  response '{"announced":"1","images":"1"}' .auditAnnotations
  response null .warnings
}

@test "a look-up that Harbor is too slow for is left to the warmer without a warning" {
  evaluate deployment deferred
  response '{"announced":"1","images":"1"}' .auditAnnotations
  response null .warnings
}

@test "an image that is no reference hides no other" {
  evaluate pod_unreadable warm
  response '{"announced":"1","failed":"1","images":"2"}' .auditAnnotations
  response 1 '.warnings | length'
}

@test "nothing of a Pod's environment is logged" {
  evaluate pod_several_images several_images
  [[ "$output$stderr" != *not-for-the-log* ]]
}

@test "every warning has at most 120 characters" {
  for session in no_such_tag no_such_platform refused unreachable unauthorized; do
    evaluate deployment "$session"
    response true '[.warnings[] | length <= 120] | all'
  done
}

@test "invalid settings are refused with every mistake" {
  run "$RUNNER" run --request-path test_data/request_deployment.json \
    --settings-path test_data/settings_invalid.json "$POLICY"
  echo "output = ${output}"
  [ "$status" -ne 0 ]
  [[ "$output" == *"Provided settings are not valid"* ]]
  [[ "$output" == *"warmer: "* ]]
  [[ "$output" == *"rules[0].harbor: missing"* ]]
  [[ "$output" == *"rules[1].pattern: "* ]]
  [[ "$output" == *"platforms[0]: "* ]]
  [[ "$output" == *"maxImage: unknown key"* ]]
}
