SHELL := /bin/bash
.DEFAULT_GOAL := help

TOOLS := .tools
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} $(TOOLS)/sam/bin/sam
# cargo-lambda and the zig it links with are found beside each other.
WITH_CARGO_LAMBDA := PATH="$(CURDIR)/$(TOOLS)/cargo-lambda/bin:$$PATH"
PLAY := PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/emulator/bin/python

.PHONY: help setup build demo test e2e contract bench bench-smoke drill soak lint fmt clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' Makefile

setup: ## install the pinned tools into .tools/ (needs Python 3.10+, or PYTHON=/path/to/python3)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh

build: ## build the function with sam build, ready for sam deploy
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda
	$(WITH_CARGO_LAMBDA) $(SAM) build

demo: ## watch a release prove itself and a bad one being rolled back, on an emulator (KEEP=1 leaves it up)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda emulator
	@$(PLAY) tests/e2e/demo.py

test: ## run the offline tests (needs nothing but Rust)
	cargo test --locked

e2e: ## run the demo's story, a lost alarm, the commands and a drill as assertions
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda emulator
	cargo build --locked --bin apigw-rollback
	@$(PLAY) tests/e2e/e2e.py

contract: ## the function against LocalEmu, whose gateway serves frozen deployments, and MiniStack (needs Python 3.13+)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam emulator localemu
	cargo build --locked --bin apigw-rollback-function
	@PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/localemu/bin/python tests/e2e/contract.py

bench: ## this function beside a boto3 and a Node one: time, memory, size, calls (RUNS=30; needs Python 3.10+ and Node 20+)
	cargo build --locked --release --no-default-features --bin apigw-rollback-function
	cargo build --locked --release --manifest-path benches/cold/Cargo.toml --target-dir target/bench-tool
	@exec target/bench-tool/release/cold-bench target/release/apigw-rollback-function

bench-smoke: ## the same for the calls alone: few runs of the unoptimised function, no target of time
	cargo build --locked --bin apigw-rollback-function
	cargo build --locked --release --manifest-path benches/cold/Cargo.toml --target-dir target/bench-tool
	cd benches/cold && cargo test --locked --quiet --target-dir ../../target/bench-tool
	@exec target/bench-tool/release/cold-bench --smoke target/debug/apigw-rollback-function

drill: ## trip the alarm of a sandbox stack of yours and see it put back (STACK=name; uses your credentials)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh emulator
	@STACK="$(STACK)" YES="$(YES)" $(PLAY) tests/e2e/drill.py

soak: ## every pair of faults of every kind of run (takes minutes)
	cargo test --locked --test it -- --ignored --nocapture

lint: ## check formatting, clippy, and the template
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cd benches/cold && cargo fmt --check && cargo clippy --locked --all-targets --target-dir ../../target/bench-tool -- -D warnings
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cfn-lint
	$(SAM) validate --lint
	$(TOOLS)/cfn-lint/bin/cfn-lint template.yaml

fmt: ## format the Rust code
	cargo fmt
	cd benches/cold && cargo fmt

clean: ## remove what was built (the tools in .tools/ stay)
	cargo clean
	rm -rf .aws-sam
