SHELL := /bin/bash
.DEFAULT_GOAL := help

TOOLS := .tools
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} $(TOOLS)/sam/bin/sam
# cargo-lambda and the zig it links with are found beside each other.
WITH_CARGO_LAMBDA := PATH="$(CURDIR)/$(TOOLS)/cargo-lambda/bin:$$PATH"
PLAY := PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/emulator/bin/python

.PHONY: help setup build demo test template e2e contract drill soak guards lint fmt clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' Makefile

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

template: ## hold the template against every request, every combination of conditions, its documents and checkov
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam checkov
	@PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/sam/bin/python -m unittest discover --start-directory tests/template

e2e: ## run the demo's story, a lost alarm, the commands and a drill as assertions
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda emulator
	cargo build --locked --bin apigw-rollback
	@$(PLAY) tests/e2e/e2e.py

contract: ## the function against LocalEmu, whose gateway serves frozen deployments, and MiniStack (needs Python 3.13+)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam emulator localemu
	cargo build --locked --bin apigw-rollback-function
	@PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/localemu/bin/python tests/e2e/contract.py

drill: ## trip the alarm of a sandbox stack of yours and see it put back (STACK=name; uses your credentials)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh emulator
	@STACK="$(STACK)" YES="$(YES)" $(PLAY) tests/e2e/drill.py

soak: ## every pair of faults, every interleaving of three runs, and SEEDS=n more lives (takes a while)
	cargo test --locked --test it -- --ignored --nocapture

guards: ## take each guard out of the engine, and see that the simulation notices (takes half an hour)
	python3 tests/guards.py $(GUARD)

lint: ## check formatting, clippy, and the template
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cfn-lint
	$(SAM) validate --lint
	$(TOOLS)/cfn-lint/bin/cfn-lint template.yaml

fmt: ## format the Rust code
	cargo fmt

clean: ## remove what was built (the tools in .tools/ stay)
	cargo clean
	rm -rf .aws-sam
