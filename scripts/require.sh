#!/usr/bin/env bash
# Makes sure that what a make target needs is there: installs it where that is possible, and says what to do where not.
#
#   scripts/require.sh wasm-target rustfmt clippy cargo-deny docker-registry skopeo bats jq curl pyyaml
set -euo pipefail

fail() {
    echo "error: $*" >&2
    exit 1
}

has() {
    # Debian puts daemons and tools of administrators outside of a user's path.
    PATH="$PATH:/usr/sbin:/sbin" command -v "$1" >/dev/null 2>&1
}

require_wasm_target() {
    local target=wasm32-wasip1
    # rustc knows where the target's libraries would be, however Rust was installed.
    [ -d "$(rustc --print target-libdir --target "$target")" ] && return
    has rustup || fail "the policy is built for $target; install that target, for example with rustup: https://rustup.rs"
    rustup target add "$target" || fail "rustup can't install the target $target; see its words above"
}

require_component() {
    local component=$1 program=$2
    cargo "$program" --version >/dev/null 2>&1 && return
    has rustup || fail "cargo $program is missing; install the component $component of your Rust toolchain"
    rustup component add "$component" || fail "rustup can't install $component; see its words above"
}

# renovate: crate cargo-deny
cargo_deny_version=0.20.2
require_cargo_deny() {
    has cargo-deny && return
    echo "building cargo-deny (once)" >&2
    cargo install --quiet --locked "cargo-deny@$cargo_deny_version" ||
        fail "cargo-deny is missing and can't be built; see Cargo's words above"
}

updated=no
install_package() {
    local missing=$1 package=$2
    has apt-get || fail "$missing is missing; install it with your package manager (Debian and Ubuntu: $package)"
    [ "$(id -u)" = 0 ] || fail "$missing is missing; run: sudo apt-get install $package"
    if [ "$updated" = no ]; then
        apt-get update -q >&2 || fail "$missing is missing, and apt-get can't reach its sources to install $package"
        updated=yes
    fi
    # Daemons that a package would start are not wanted: the tests start their own.
    DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -q -y --no-install-recommends "$package" >&2 ||
        fail "$missing is missing, and apt-get can't install $package; see its words above"
}

require_package() {
    has "$1" || install_package "$1" "$2"
}

has_pyyaml() {
    python3 -c 'import yaml' 2>/dev/null
}

require_pyyaml() {
    has python3 || fail "python3 is missing; install it with your package manager"
    has_pyyaml && return
    # Debian's package serves Debian's own interpreter and no other.
    if [ "$(command -v python3)" = /usr/bin/python3 ]; then
        install_package PyYAML python3-yaml
    fi
    has_pyyaml || fail "PyYAML is missing for $(command -v python3); run: python3 -m pip install PyYAML"
}

for need in "$@"; do
    case $need in
        wasm-target) require_wasm_target ;;
        rustfmt) require_component rustfmt fmt ;;
        clippy) require_component clippy clippy ;;
        docker-registry | skopeo | bats | jq | curl) require_package "$need" "$need" ;;
        cargo-deny) require_cargo_deny ;;
        pyyaml) require_pyyaml ;;
        *) fail "$0 does not know what $need is" ;;
    esac
done
