# `make help` lists the targets. They install what they need, or say in one sentence what is missing.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
KWCTL ?= kwctl

# Most tests wait for timers that are scaled down, which more of them than there are cores don't keep.
TEST_THREADS ?= $(shell nproc)

# Tests that need a real registry fail without one here; in a bare `cargo test` they say that they were skipped.
export HARBOR_WARMER_REQUIRE_REGISTRY = 1

# The programs as the tests have built them: Cargo would compile most of what they depend on once more for a selection of
# packages, since other features of it would be wanted.
BUILD_PROGRAMS = cargo test --quiet --workspace --locked --no-run

.PHONY: help
help: ## List the targets
	@grep -hE '^[a-z0-9.-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([^:]+):.*## (.*)/\1\t\2/' | sort | column -t -s "$$(printf '\t')"

.PHONY: demo
demo: ## An admission makes a simulated Harbor fill, and proves it; KEEP=1 leaves it running
	@scripts/demo.sh

.PHONY: test
test: fmt lint unit-tests e2e-tests release-tests check-chart ## Everything that CI runs

.PHONY: fmt
fmt: ## Check the formatting
	scripts/require.sh rustfmt
	cargo fmt --all -- --check

.PHONY: lint
lint: ## Lints, documents and the crates that have to build for wasm
	scripts/require.sh clippy wasm-target pyyaml
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo check --locked --target wasm32-wasip1 -p harbor-warmer-protocol -p harbor-warmer-workload
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" cargo doc --workspace --locked --no-deps --document-private-items --quiet
	scripts/tidy.sh
	scripts/check-versions.sh
	scripts/support-matrix.py --check
	scripts/artifacthub-pkg.py --check
	scripts/check-workflows.sh
	scripts/check-security.sh

.PHONY: unit-tests
unit-tests: policy.wasm ## Unit, property and integration tests, with a real registry and kill -9
	scripts/require.sh docker-registry skopeo curl
	POLICY_WASM=$(CURDIR)/policy.wasm cargo test --workspace --locked -- --test-threads $(TEST_THREADS)

.PHONY: e2e-tests
e2e-tests: annotated-policy.wasm ## The policy under kwctl, or under the project's policy host without it; REQUIRE_KWCTL=1 fails then
	scripts/require.sh bats jq
	@[ -n "$(REQUIRE_KWCTL)" ] || $(BUILD_PROGRAMS)
	POLICY_HOST=$(TARGET_DIR)/debug/policy-host KWCTL=$(KWCTL) bats e2e.bats

.PHONY: release-tests
release-tests: ## The scripts of the release that need no registry, and those that check
	scripts/require.sh bats pyyaml
	bats scripts/release/release.bats scripts/checks.bats

.PHONY: deny
deny: ## Licences and sources of the dependencies (builds cargo-deny once, some minutes)
	scripts/require.sh cargo-deny
	cargo deny --offline --all-features --locked check licenses sources bans

.PHONY: advisories
advisories: ## Advisories against the dependencies (needs the network)
	scripts/require.sh cargo-deny
	cargo deny --all-features --locked check advisories

.PHONY: check-chart
check-chart: policy.wasm ## The chart against schemas, the real readers and promtool
	$(BUILD_PROGRAMS)
	HARBOR_WARMER=$(TARGET_DIR)/debug/harbor-warmer POLICY_HOST=$(TARGET_DIR)/debug/policy-host \
	POLICY_WASM=$(CURDIR)/policy.wasm scripts/check-chart.sh

.PHONY: e2e-harbor
e2e-harbor: ## The scenarios on a real Harbor: HARBOR_URL, HARBOR_PROJECT, UPSTREAM, RESOLVE_PROJECT, TARGET, TARGET_URL, REACHABLE_AS
	cargo run --locked -p harbor-warmer-scenarios

.PHONY: bench
bench: ## Sizes and speeds beside their targets
	scripts/bench.sh

.PHONY: faults
faults: ## What kills, full disks, harmed files and set clocks do to the queue, as a table; FULL=1 tries harder, SEED draws others
	cargo run --locked --quiet -p harbor-warmer-faults -- --seed $(or $(SEED),1) $(if $(FULL),--kills 1000 --pages 5000)

.PHONY: soak
soak: ## Two simulated weeks of a warmer and a Harbor that fails, in minutes; SOAK_SEED draws others
	cargo run --locked --profile soak -p harbor-warmer-soak

# Always asked for: cargo knows whether anything changed.
.PHONY: policy.wasm
policy.wasm: ## Build the policy
	scripts/require.sh wasm-target
	scripts/build-policy.sh

annotated-policy.wasm: policy.wasm metadata.yml README.md ## The policy with its metadata and README (needs kwctl)
	@if command -v $(KWCTL) >/dev/null; then \
	  $(KWCTL) annotate -m metadata.yml -u README.md -o $@ policy.wasm; \
	elif [ -n "$(REQUIRE_KWCTL)" ]; then \
	  echo "error: $(KWCTL) is not installed, and REQUIRE_KWCTL says that $@ is to carry its metadata" >&2; exit 1; \
	else \
	  echo "kwctl is not installed, so $@ carries no metadata; see https://docs.kubewarden.io for kwctl"; \
	  cp policy.wasm $@; \
	fi

artifacthub-pkg.yml: metadata.yml README.md questions-ui.yml ## Generate the package file of Artifact Hub
	scripts/artifacthub-pkg.py

.PHONY: image
image: ## The warmer's image for amd64 and arm64 (needs cargo-zigbuild and buildah)
	scripts/build-warmer.sh amd64
	scripts/build-warmer.sh arm64
	scripts/image.sh harbor-warmer:dev

.PHONY: rehearse-release
rehearse-release: policy.wasm ## The release on a registry of this machine's, with a key (needs both binaries of `make image`)
	scripts/require.sh bats jq curl docker-registry skopeo
	bats scripts/release/rehearsal.bats

.PHONY: check-reproducible
check-reproducible: ## The same policy from two clones at different paths
	scripts/check-reproducible.sh

.PHONY: clean
clean: ## Remove what was built
	cargo clean
	rm -f policy.wasm annotated-policy.wasm
