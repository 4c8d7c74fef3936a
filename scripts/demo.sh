#!/usr/bin/env bash
# The whole way of an image, from an admission to Harbor's own word that it has it: the policy's .wasm in a policy host,
# the warmer, and a simulated Harbor, each a process of its own, on free ports, with all files in a temporary directory.
#
#   KEEP=1                                  leave it running afterwards, until Ctrl-C
#   UPSTREAM=https://registry-1.docker.io   have the simulated Harbor fetch real images from there (needs Internet)
#
# It needs bash, coreutils and a Rust toolchain, and exits 0 only if Harbor has recorded each image's tag.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# Numbers are read and printed with a point.
export LC_NUMERIC=C

# Harbor's own timers take 20 s and more, so the simulated one's run faster: a second of its takes so long.
time_scale=0.2 faster=5
# Once everything runs, the images have this long; it takes a tenth of it.
patience_seconds=180
registry=123456789012.dkr.ecr.eu-central-1.amazonaws.com/hub
if [ -n "${UPSTREAM:-}" ]; then
    images=(library/busybox:1.36 library/alpine:3.20)
else
    images=(shop/migrate:7.2.0 shop/checkout:2.4.1)
fi

# --- What a person sees -----------------------------------------------------------------------------------------------

if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
    bold=$'\e[1m' faint=$'\e[2m' green=$'\e[32m' yellow=$'\e[33m' red=$'\e[31m' plain=$'\e[0m'
else
    bold='' faint='' green='' yellow='' red='' plain=''
fi

heading() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }
row() { printf '  %s%-24s%s %s\n' "$faint" "$1" "$plain" "$2"; }
good() { printf '  %s✓%s %s\n' "$green" "$plain" "$1"; }
bad() { printf '  %s✗%s %s\n' "$red" "$plain" "$1"; }

in_mib() {
    local hundredths=$(($1 * 100 / 1048576))
    printf '%d.%02d MiB' $((hundredths / 100)) $((hundredths % 100))
}

# Milliseconds since the start of the script.
now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000 - started_ms)); }
seconds() { printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100)); }

# --- Processes --------------------------------------------------------------------------------------------------------

started_ms=0
started_ms=$(now_ms)
directory=$(mktemp -d "${TMPDIR:-/tmp}/harbor-warmer-demo.XXXXXX")
pids=()

end() {
    local status=$? pid
    trap - EXIT INT TERM
    # The last that was started ends first. A process that has ended already is none of ours any more, so it was removed.
    for ((i = ${#pids[@]} - 1; i >= 0; i--)); do
        pid=${pids[i]}
        kill "$pid" 2>/dev/null || true
        wait "$pid" 2>/dev/null || true
    done
    rm -rf "$directory"
    exit "$status"
}
trap end EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

fail() {
    printf '\n%serror: %s%s\n' "$red" "$1" "$plain" >&2
    if [ -n "${2:-}" ]; then
        tail -n 20 "$directory/$2.log" "$directory/$2.out" >&2
    fi
    exit 1
}

# start NAME PROGRAM ARGUMENTS…: its output goes to NAME.out, its log to NAME.log.
start() {
    local name=$1
    shift
    (cd "$directory" && exec "$@") >"$directory/$name.out" 2>"$directory/$name.log" </dev/null &
    pids+=($!)
}

# await NAME FILE SED-EXPRESSION: what the expression prints of the file, as soon as it prints something.
await() {
    local name=$1 file=$directory/$2 expression=$3 pid=${pids[-1]} found
    for _ in {1..600}; do
        found=$(sed -n "$expression" "$file" | head -n 1)
        if [ -n "$found" ]; then
            echo "$found"
            return
        fi
        kill -0 "$pid" 2>/dev/null || fail "$name ended at once" "$name"
        sleep 0.05
    done
    fail "$name is not ready after 30 s" "$name"
}

# http METHOD ADDRESS PATH [BODY-FILE [HEADER]]: leaves $status and $body. No curl is needed for this little.
http() {
    local method=$1 address=$2 path=$3 file=${4:-} header=${5:-} connection answer
    exec {connection}<>"/dev/tcp/${address%:*}/${address##*:}"
    {
        printf '%s %s HTTP/1.0\r\nHost: %s\r\n' "$method" "$path" "$address"
        [ -z "$header" ] || printf '%s\r\n' "$header"
        if [ -n "$file" ]; then
            printf 'Content-Type: application/json\r\nContent-Length: %d\r\n\r\n' "$(wc -c <"$file")"
            cat "$file"
        else
            printf '\r\n'
        fi
    } >&"$connection"
    answer=$(cat <&"$connection")
    exec {connection}>&-
    status=${answer#* } status=${status%% *}
    body=${answer#*$'\r\n\r\n'}
}

# What stands in JSON, one a line. The shapes are those of this demo's own programs; jq would be one more thing to install.
# strings KEY JSON of texts, numbers KEY JSON of whole numbers.
strings() { grep -oE "\"$1\": ?\"[^\"]*\"" <<<"$2" | sed -E 's/^"[^"]*": ?"(.*)"$/\1/' || true; }
numbers() { grep -oE "\"$1\": ?[0-9]+" <<<"$2" | grep -oE '[0-9]+$' || true; }

warnings() { grep -oE '"warnings": ?\[[^]]*\]' <<<"$1" | sed -E 's/^"warnings": ?\["//; s/"\]$//; s/","/\n/g' || true; }
annotations() { grep -oE '"auditAnnotations": ?\{[^}]*\}' <<<"$1" | sed -E 's/^[^{]*\{//; s/\}//; s/"//g; s/:/ /g; s/,/, /g' || true; }

# build WHAT NEXT COMMAND…: at a terminal cargo itself shows what it compiles; elsewhere a line says every 20 s that it does.
build() {
    local what=$1 next=$2 begun=$SECONDS told=20 pid
    shift 2
    row "builds" "$what; then $next"
    if [ -t 2 ]; then
        "$@"
        return
    fi
    CARGO_TERM_QUIET=true "$@" &
    pid=$!
    pids+=("$pid")
    while kill -0 "$pid" 2>/dev/null; do
        sleep 0.2
        if [ $((SECONDS - begun)) -ge "$told" ]; then
            row "" "still at $what, after $told s; then $next"
            told=$((told + 20))
        fi
    done
    unset 'pids[-1]'
    wait "$pid"
}

random() { od -An -N 12 -tx1 /dev/urandom | tr -d ' \n'; }

# Copies a file of docs/demo, with the addresses and images of this run.
adapt() {
    sed -e "s|127\.0\.0\.1:8443|${warmer:-}|; s|127\.0\.0\.1:8080|$harbor|" \
        -e "s|shop/migrate:7\.2\.0|${images[0]}|; s|shop/checkout:2\.4\.1|${images[1]}|" \
        -e "s|^\( *timeScale:\).*|\1 $time_scale|" "docs/demo/$1" >"$directory/$1"
}

# --- The demo ---------------------------------------------------------------------------------------------------------

heading "Building"
row "" "some minutes the first time, some seconds after that"
scripts/require.sh wasm-target
build "the policy (1 of 2)" "the programs" scripts/build-policy.sh "$directory/policy.wasm"
build "the programs (2 of 2)" "the demo" \
    cargo build --locked --bins -p harbor-warmer-cli -p harbor-warmer-policy-host -p harbor-warmer-simulator
target=$(cd "${CARGO_TARGET_DIR:-target}" && pwd)
programs=$target/debug
wasm=$directory/policy.wasm
row "the policy" "$(wc -c <"$wasm") bytes of WebAssembly"
row "took" "$(seconds "$(now_ms)")"

robot_password=$(random)
cluster_password=$(random)
printf '%s' "$robot_password" >"$directory/robot-password"
printf '%s' "$cluster_password" >"$directory/demo-password"

simulator=("$programs/harbor-simulator" --time-scale "$time_scale" --project hub --project hub-index
    --robot "robot\$warmer:$robot_password")
if [ -n "${UPSTREAM:-}" ]; then
    simulator+=(--upstream "$UPSTREAM")
else
    # Layers that arrive one after another, at 5 MB/s each.
    simulator+=(--latency-ms 100 --rate 1000000
        --seed-image "${images[0]}=linux/amd64,linux/arm64@9000000,4000000,1500000"
        --seed-image "${images[1]}=linux/amd64,linux/arm64@26000000,21000000,14000000,8000000,3000000,600000")
fi
start simulator "${simulator[@]}"
harbor=$(await simulator simulator.out 's|^listening on http://||p')

adapt warmer.yaml
start warmer "$programs/harbor-warmer" serve --config warmer.yaml --log-format json
ready='"message":"ready"'
warmer=$(await warmer warmer.log "/$ready/s/.*\"registry\.address\":\"\([^\"]*\)\".*/\1/p")
admin=$(await warmer warmer.log "/$ready/s/.*\"admin\.address\":\"\([^\"]*\)\".*/\1/p")
export HARBOR_WARMER_ADMIN=http://$admin

for file in settings.yaml deployment.yaml review.json; do adapt "$file"; done
printf 'insecure_sources: ["%s"]\n' "$warmer" >"$directory/sources.yaml"
printf '{"auths":{"%s":{"auth":"%s"}}}\n' "$warmer" "$(printf 'demo:%s' "$cluster_password" | base64 -w 0)" \
    >"$directory/config.json"
# The host is a development build, so it gets more than the 2 s that a policy server should have.
start policy-host "$programs/policy-host" serve --policy "$wasm" --settings-path settings.yaml \
    --sources-path sources.yaml --docker-config-json-path . --mode monitor --policy-timeout 10
webhook=$(await policy-host policy-host.out 's|^listening on http://||p')

heading "Running"
row "Harbor, simulated" "http://$harbor  ${faint}its clocks run $faster times as fast$plain"
row "the warmer" "http://$warmer  ${faint}admin port$plain http://$admin"
row "the policy server" "http://$webhook"

http GET "$admin" /metrics
metrics_before=$body

# apply REVIEW-FILE: what a person sees of an admission.
apply() {
    local before took warning
    before=$(now_ms)
    http POST "$webhook" /validate/kw.cap.harbor-warmer "$1"
    took=$(($(now_ms) - before))
    [[ $body == *'"allowed":true'* ]] || fail "the policy server answered $status $body" policy-host
    good "admitted after $took ms"
    while IFS= read -r warning; do
        [ -z "$warning" ] || row "warning" "$yellow$warning$plain"
    done < <(warnings "$body")
    row "audit annotations" "$(annotations "$body")"
}

# Harbor's own API, asked with the robot's credentials.
ask_harbor() { http GET "$harbor" "$1" '' "Authorization: Basic $(printf 'robot$warmer:%s' "$robot_password" | base64 -w 0)"; }

# artifact IMAGE: whether Harbor has recorded its tag; what it says of it is in $body.
artifact() {
    local repository=${1%:*} tag=${1##*:}
    # Harbor wants the slashes of a repository encoded twice.
    ask_harbor "/api/v2.0/projects/hub/repositories/${repository//\//%252F}/artifacts/$tag?with_tag=true"
    [ "$status" = 200 ]
}

heading "Somebody applies a Deployment"
admitted_ms=$(now_ms)
for image in "${images[@]}"; do row "image" "$registry/$image"; done
apply "$directory/review.json"
[[ $body == *'"images":"2"'* ]] || fail "the policy did not tell of two images" policy-host

heading "The warmer makes Harbor cache them"
printf '  %s$ harbor-warmer warm deployment.yaml --wait%s   joins what is under way, as a delivery pipeline would\n\n' \
    "$bold" "$plain"
"$programs/harbor-warmer" warm "$directory/deployment.yaml" --wait --timeout "${patience_seconds}s" 2>&1 ||
    fail "the images did not become warm" warmer

heading "Harbor records the tags"
row "" "once it has all platforms of an image: the others follow after the wanted one"
deadline=$(($(now_ms) + patience_seconds * 1000))
told=''
while true; do
    list=$("$programs/harbor-warmer" status --json)
    [ "$(strings phase "$list" | grep -c '^tagged$')" -lt "${#images[@]}" ] || break
    [ "$(now_ms)" -lt "$deadline" ] || fail "Harbor did not record the tags in time" warmer
    while IFS= read -r reason; do
        if [ -n "$reason" ] && [[ $told != *"|$reason|"* ]]; then
            row "$(seconds $(($(now_ms) - admitted_ms)))" "$reason"
            told+="|$reason|"
        fi
    done < <(strings reason "$list")
    sleep 0.1
done
tagged_ms=$(($(now_ms) - admitted_ms))
row "$(seconds "$tagged_ms")" "both are tagged"
printf '\n  %s$ harbor-warmer status%s\n\n' "$bold" "$plain"
"$programs/harbor-warmer" status

heading "What Harbor itself says"
http GET "$harbor" /_simulator/state
state=$body
content_bytes=0
verified=yes
for image in "${images[@]}"; do
    blob='"sha256:[0-9a-f]{64}":\{"localAtSeconds":[0-9.e-]+,"sizeBytes":[0-9]+\},?'
    blobs=$(grep -oE "\"hub/${image%:*}\":\{($blob)+\}" <<<"$state" || true)
    bytes=0
    for size in $(numbers sizeBytes "$blobs"); do bytes=$((bytes + size)); done
    content_bytes=$((content_bytes + bytes))
    if artifact "$image"; then
        good "hub/$image"
        mapfile -t platforms < <(strings architecture "$body" | sort -u)
        row "recorded as" "$(strings digest "$body" | head -n 1)"
        row "blobs" "$(numbers sizeBytes "$blobs" | wc -l) of $(in_mib "$bytes"), for ${platforms[*]}"
    else
        bad "hub/$image: $status $body"
        verified=no
    fi
done
upstream_bytes=$(numbers blobBytes "$state")
http GET "$admin" /metrics
client_bytes=$(sed -n 's/^harbor_warmer_blob_read_bytes_total //p' <<<"$body")
row "stored" "$(in_mib "$content_bytes")"
row "fetched from upstream" "$(in_mib "$upstream_bytes")"
row "through the warmer" "$(in_mib "$client_bytes"): Harbor goes on copying when a transfer has begun"

heading "Metrics that changed (harbor_warmer_…)"
# The queue is counted every 5 s.
for _ in {1..60}; do
    http GET "$admin" /metrics
    ! grep -q "^harbor_warmer_queue_images{phase=\"tagged\"} ${#images[@]}$" <<<"$body" || break
    sleep 0.1
done
while read -r name value; do
    case $name in
        '#' | *_bucket* | *_connections | *_free_bytes) continue ;;
    esac
    old=$(grep -F "$name " <<<"$metrics_before" || true)
    if [ "${old##* }" != "$value" ] && [ "$value" != 0 ]; then
        [[ $value != *.* ]] || printf -v value '%.1f' "$value"
        printf '  %-64s %9s\n' "${name#harbor_warmer_}" "$value"
    fi
done <<<"$body"

heading "A mistake: the same Deployment with a tag that does not exist"
sed "s|${images[1]}|${images[1]}x|" "$directory/review.json" >"$directory/mistake.json"
apply "$directory/mistake.json"

if [ "$verified" != yes ]; then
    fail "Harbor does not have what the warmer says it has" warmer
fi
printf '\n%s✓ Both images are warm and tagged%s, %s after the admission, and no node has asked for them yet.\n' \
    "$green" "$plain" "$(seconds "$tagged_ms")"

if [ "${KEEP:-0}" = 1 ]; then
    heading "It keeps running until Ctrl-C"
    row "look at it" "HARBOR_WARMER_ADMIN=http://$admin $programs/harbor-warmer status"
    row "metrics" "http://$admin/metrics"
    row "what Harbor was asked" "http://$harbor/_simulator/requests"
    row "apply something else" "POST an AdmissionReview to http://$webhook/validate/kw.cap.harbor-warmer"
    row "files and logs" "$directory"
    trap 'exit 0' INT
    wait "${pids[@]}"
fi
