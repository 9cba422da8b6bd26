# What there is to do here. `make` alone lists it.
#
# CI runs `.ci/run`, which calls the targets below and nothing else, so `make check` is CI.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)
DEBUG_BINARY := $(TARGET_DIR)/debug/dutygate
IMAGE ?= dutygate

# The version that deny.toml was written for.
CARGO_DENY_VERSION := 0.20.2

.PHONY: help
help: ## List the targets
	@echo "usage: make <target>"
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

# --- Every day --------------------------------------------------------------------------------

.PHONY: run
run: needs-compiler ## Run the gateway on 127.0.0.1:8080 with its data in ./data
	$(CARGO) run --release --locked

.PHONY: test
test: needs-compiler ## Run all tests; installs what they need (apt, pip)
	$(CARGO) test --locked
	$(CARGO) build --locked
	tests/clients/run.sh $(DEBUG_BINARY)

.PHONY: check
check: ## Everything that CI checks
	@.ci/run

.PHONY: fmt
fmt: ## Format the code
	$(CARGO) fmt

.PHONY: fmt-check
fmt-check: ## Fail if the code is not formatted
	$(CARGO) fmt --check

.PHONY: lint
lint: needs-compiler ## Run Clippy; a warning is an error
	$(CARGO) clippy --locked --all-targets -- -D warnings

.PHONY: doc
doc: needs-compiler ## Build the documentation of the code; a warning is an error
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

# --- Dependencies -----------------------------------------------------------------------------

.PHONY: deny
deny: ## Check licences, sources and advisories of the dependencies, if cargo-deny is installed
	@if ! $(CARGO) deny --version >/dev/null 2>&1; then \
		echo 'skipped: cargo-deny is not installed; `make deny-install` builds it (some minutes)'; \
		exit 0; \
	fi; \
	$(CARGO) deny --locked check bans licenses sources; \
	if $(CARGO) deny fetch db >/dev/null 2>&1; then \
		$(CARGO) deny --locked check --disable-fetch advisories; \
	else \
		echo 'skipped: the advisories (github.com/RustSec/advisory-db) cannot be fetched from here'; \
	fi

.PHONY: deny-install
deny-install: needs-compiler ## Build and install cargo-deny
	$(CARGO) install cargo-deny --version $(CARGO_DENY_VERSION) --locked

# --- Generated files --------------------------------------------------------------------------

.PHONY: config-example
config-example: needs-compiler ## Write config.example.yaml anew from the table of settings
	$(CARGO) run --quiet --locked -- check-config --print-example > config.example.yaml.new
	mv config.example.yaml.new config.example.yaml

.PHONY: openapi
openapi: needs-compiler ## Write openapi.json anew from the code
	$(CARGO) run --quiet --locked -- openapi > openapi.json.new
	mv openapi.json.new openapi.json

# --- Now and then -----------------------------------------------------------------------------

.PHONY: bench
bench: needs-compiler ## Measure throughput (benches/throughput); see docs/BENCHMARKS.md
	benches/throughput/run.sh

.PHONY: bench-outbox
bench-outbox: needs-compiler ## Measure how what is owed to receivers goes out; see docs/BENCHMARKS.md
	tests/clients/ensure_package.sh wrk command -v wrk
	$(CARGO) build --quiet --release --locked
	mkdir -p target/bench
	BENCH_DIR=target/bench python3 benches/outbox/bench.py target/release/dutygate

.PHONY: bench-replay
bench-replay: needs-compiler ## Measure how fast stored events are decided again; see docs/BENCHMARKS.md
	$(CARGO) bench --quiet --locked --bench replay

.PHONY: bench-grouping
bench-grouping: needs-compiler ## Measure similarity grouping on CSV files (DATA=dir); see docs/BENCHMARKS.md
	@[ -n "$(DATA)" ] || { echo 'error: which folder? make bench-grouping DATA=<folder with CSV files>' >&2; exit 1; }
	$(CARGO) bench --quiet --locked --bench grouping -- "$(DATA)"

.PHONY: docker
docker: ## Build the container image (IMAGE=dutygate)
	docker build --tag $(IMAGE) .

.PHONY: clean
clean: ## Remove what was built; leaves ./data alone
	$(CARGO) clean
	rm -rf .venv *.new

# SQLite, zstd and ring are C code, built from source.
.PHONY: needs-compiler
needs-compiler:
	@command -v $(CARGO) >/dev/null || { echo 'error: there is no cargo here; install Rust from https://rustup.rs' >&2; exit 1; }
	@tests/clients/ensure_package.sh build-essential command -v cc
