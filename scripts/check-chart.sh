#!/usr/bin/env bash
# Checks charts/harbor-warmer and deploy/: rendering, schemas, the real readers, alerts. `UPDATE=1` rewrites golden files.
#
# Installs what is missing into ~/.cache/harbor-warmer: helm, kubeconform and controller-gen as Go programs, the schemas
# of Kubernetes and PyYAML from PyPI, promtool from Debian. HARBOR_WARMER, POLICY_HOST, HARBOR_SIMULATOR and POLICY_WASM
# say where what was built is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# renovate: go helm.sh/helm/v3
helm_version=v3.22.0
# renovate: go github.com/yannh/kubeconform
kubeconform_version=v0.8.0
# renovate: go sigs.k8s.io/controller-tools
controller_gen_version=v0.23.0
# The package's version has that of the newest Kubernetes in it.
schemas_version=$(sed -n 's/^kubernetes-validate==\([0-9.]*\).*/\1/p' scripts/requirements/schemas.txt)
kubernetes_versions="1.30.0 1.37.0"

cache=${XDG_CACHE_HOME:-$HOME/.cache}/harbor-warmer
mkdir -p "$cache/bin"
export PATH="$PATH:$cache/bin"

fail() {
    echo "error: $*" >&2
    exit 1
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Builds a Go program into the cache.
require_go_program() {
    local program=$1 package=$2
    has "$program" && return
    has go || fail "$program is missing, and so is Go to build it; install one of the two: https://go.dev/dl"
    echo "building $program (once)" >&2
    GOBIN="$cache/bin" GOFLAGS=-buildvcs=false go install "$package" ||
        fail "$program is missing and can't be built from $package; see Go's words above"
}

# promtool links every cloud's discovery; Debian has it built.
require_promtool() {
    has promtool && return
    if has apt-get && has dpkg-deb; then
        local directory
        directory=$(mktemp -d)
        (
            cd "$directory"
            apt-get download -q prometheus >/dev/null 2>&1 ||
                { [ "$(id -u)" = 0 ] && apt-get update -q >/dev/null && apt-get download -q prometheus >/dev/null; }
            dpkg-deb -x prometheus_*.deb .
        ) && install "$directory/usr/bin/promtool" "$cache/bin/promtool"
        rm -rf "$directory"
    fi
    has promtool || require_go_program promtool github.com/prometheus/prometheus/cmd/promtool@latest
}

require_python() {
    has python3 || fail "python3 is missing; install it with your package manager"
    export PYTHONPATH="$cache/python${PYTHONPATH:+:$PYTHONPATH}"
    python3 -c 'import yaml' 2>/dev/null && return
    python3 -m pip install -q --target "$cache/python" --require-hashes --only-binary :all: \
        --requirement scripts/requirements/chart.txt >&2 ||
        fail "PyYAML is missing, and pip can't install it; Debian and Ubuntu have it as python3-yaml"
}

# Schemas by version and kind, as kubeconform looks them up: Kubernetes' own from the PyPI package kubernetes-validate,
# those of custom resources from their Go types.
require_schemas() {
    export SCHEMAS=$cache/schemas-$schemas_version
    [ -e "$SCHEMAS/complete" ] || make_schemas
    # shellcheck disable=SC2086
    python3 charts/tests/schemas.py own "$SCHEMAS" $kubernetes_versions
}

make_schemas() {
    local directory
    directory=$(mktemp -d)
    python3 -m pip download -q --no-deps --dest "$directory" --require-hashes \
        --requirement scripts/requirements/schemas.txt >&2 ||
        fail "the schemas of Kubernetes are missing, and pip can't fetch the package kubernetes-validate"
    (cd charts/tests/crds && controller-gen crd:maxDescLen=0 output:crd:dir="$directory/crds" \
        paths=github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1 \
        paths=github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1) >&2 ||
        fail "the schemas of custom resources can't be generated; see controller-gen's words above"
    # shellcheck disable=SC2086
    python3 charts/tests/schemas.py fetched "$SCHEMAS" "$directory" $kubernetes_versions
    rm -rf "$directory"
    touch "$SCHEMAS/complete"
}

require_built() {
    [ -e "$2" ] || fail "$2 is missing; build it first, or say in $1 where it is"
}

export HARBOR_WARMER=${HARBOR_WARMER:-target/debug/harbor-warmer}
export POLICY_HOST=${POLICY_HOST:-target/debug/policy-host}
export POLICY_WASM=${POLICY_WASM:-policy.wasm}
require_built HARBOR_WARMER "$HARBOR_WARMER"
require_built POLICY_HOST "$POLICY_HOST"
require_built POLICY_WASM "$POLICY_WASM"
export HARBOR_SIMULATOR=${HARBOR_SIMULATOR:-$(dirname "$HARBOR_WARMER")/harbor-simulator}
require_built HARBOR_SIMULATOR "$HARBOR_SIMULATOR"
HARBOR_SIMULATOR=$(realpath "$HARBOR_SIMULATOR")
HARBOR_WARMER=$(realpath "$HARBOR_WARMER")
POLICY_HOST=$(realpath "$POLICY_HOST")
POLICY_WASM=$(realpath "$POLICY_WASM")

has openssl || fail "openssl is missing; install it with your package manager"
require_go_program helm "helm.sh/helm/v3/cmd/helm@$helm_version"
require_go_program kubeconform "github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform_version"
require_go_program controller-gen "sigs.k8s.io/controller-tools/cmd/controller-gen@$controller_gen_version"
require_promtool
require_python
require_schemas

export PYTHONDONTWRITEBYTECODE=1
exec python3 -m unittest discover --start-directory charts/tests "$@"
