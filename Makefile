SHELL := /bin/bash
.DEFAULT_GOAL := help

TOOLS := .tools
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} $(TOOLS)/sam/bin/sam
# cargo-lambda and the zig it links with are found beside each other.
WITH_CARGO_LAMBDA := PATH="$(CURDIR)/$(TOOLS)/cargo-lambda/bin:$$PATH"
# Tools of cargo, each under the version that is pinned here; installing one compiles it.
DENY := $(TOOLS)/cargo-deny@0.20.2/bin/cargo-deny
FUZZ := $(TOOLS)/cargo-fuzz@0.13.2/bin/cargo-fuzz
MUTANTS := $(TOOLS)/cargo-mutants@27.1.0/bin/cargo-mutants
SBOM := $(TOOLS)/cargo-cyclonedx@0.5.9/bin/cargo-cyclonedx
PLAY := PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/emulator/bin/python

.PHONY: help setup build demo test template e2e documents contract bench bench-smoke drill soak guards fuzz mutants deny advisories sbom lint fmt clean

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

template: ## hold the template against every request, every combination of conditions, its documents and checkov
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam checkov
	@PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/sam/bin/python -m unittest discover --start-directory tests/template

e2e: ## run the demo's story, a lost alarm, the commands, a drill, and then `make documents`, as assertions
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda emulator
	cargo build --locked --bin apigw-rollback
	@$(PLAY) tests/e2e/e2e.py
	@$(MAKE) --no-print-directory documents

documents: ## run every command of README and docs as it is written, and nest the template in another stack
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda emulator awscli
	@$(PLAY) tests/e2e/documents.py

contract: ## the function against LocalEmu, whose gateway serves frozen deployments, and MiniStack (needs Python 3.13+)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam emulator localemu awscli
	cargo build --locked --bin apigw-rollback-function
	@PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/localemu/bin/python tests/e2e/contract.py

# Compiled and linked by what `sam build` calls, so that what is measured is what is deployed.
bench: ## this function beside a boto3 and a Node one: time, memory, size, calls (RUNS=30; needs Python 3.10+ and Node 20+)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh cargo-lambda
	$(WITH_CARGO_LAMBDA) cargo lambda build --locked --release --bin apigw-rollback-function
	cargo build --locked --release --manifest-path benches/cold/Cargo.toml --target-dir target/bench-tool
	@exec target/bench-tool/release/cold-bench target/lambda/apigw-rollback-function/bootstrap

bench-smoke: ## the same for the calls alone: few runs of the unoptimised function, no target of time
	cargo build --locked --bin apigw-rollback-function
	cargo build --locked --release --manifest-path benches/cold/Cargo.toml --target-dir target/bench-tool
	cd benches/cold && cargo test --locked --quiet --target-dir ../../target/bench-tool
	@exec target/bench-tool/release/cold-bench --smoke target/debug/apigw-rollback-function

drill: ## trip the alarm of a sandbox stack of yours and see it put back (STACK=name; uses your credentials)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh emulator
	@STACK="$(STACK)" YES="$(YES)" $(PLAY) tests/e2e/drill.py

soak: ## every pair of faults, every interleaving of three runs, and SEEDS=n more lives (takes a while)
	cargo test --locked --test it -- --ignored --nocapture

guards: ## take each guard out of the engine, and see that the lives, faults or stories notice (takes half an hour)
	python3 tests/guards.py $(GUARD)

# What is found stays in target/fuzz/ from run to run; what breaks goes into fuzz/artifacts/.
SECONDS ?= 60
fuzz: $(FUZZ) ## look for events, records and policies that break their parsers (SECONDS=60 for each of the three)
	@for target in signal record policy; do \
		mkdir -p target/fuzz/$$target; seeds="target/fuzz/$$target fuzz/corpus/$$target"; options=; \
		if [ $$target = signal ]; then seeds="target/fuzz/signal events"; options=-dict=fuzz/signal.dict; fi; \
		PATH="$(dir $(abspath $(FUZZ))):$$PATH" cargo fuzz run --sanitizer none $$target $$seeds -- \
			-max_total_time=$(SECONDS) -max_len=16384 -print_final_stats=1 $$options || exit 1; \
	done

# First by the unit tests, which are quick to build; then what they miss by the others. What to change is in
# .cargo/mutants.toml, unless FILES="src/model/plan.rs src/rollback/apply.rs" says so.
WITH_MUTANTS := PATH="$(dir $(abspath $(MUTANTS))):$$PATH" PROPTEST_CASES=32 SEEDS=200 CARGO_TARGET_DIR="$(CURDIR)/target/mutants"
MUTATED := -o target $(if $(FILES),--no-config $(FILES:%=-f %))
mutants: $(MUTANTS) ## change the deciding code in every small way, and see that some test notices (takes hours)
	@mkdir -p target
	$(WITH_MUTANTS) cargo mutants $(MUTATED) -C=--locked -C=--lib || test $$? -eq 2
	$(WITH_MUTANTS) cargo mutants $(MUTATED) --iterate -C=--locked -C=--test=it -- -- --skip every_pair_of_faults --skip ten_thousand_lives

deny: $(DENY) ## check licences, double versions and sources of all dependencies
	@PATH="$(dir $(abspath $(DENY))):$$PATH" cargo deny --locked check licenses bans sources

advisories: $(DENY) ## look the dependencies up in the database of vulnerabilities (needs github.com)
	@PATH="$(dir $(abspath $(DENY))):$$PATH"; cargo deny --locked fetch db \
		|| { echo "error: the database of advisories cannot be reached, so nothing is known of vulnerabilities; try again where https://github.com answers" >&2; exit 1; }; \
	cargo deny --locked check advisories

# The function's build, without the command-line tool.
sbom: $(SBOM) ## list what is in the function, as CycloneDX (target/sbom.cdx.json)
	@PATH="$(dir $(abspath $(SBOM))):$$PATH" cargo cyclonedx --quiet --format json --spec-version 1.5 --no-default-features \
		--target x86_64-unknown-linux-gnu --override-filename sbom.cdx
	@mkdir -p target && sed 's|file://$(CURDIR)|file://.|g' sbom.cdx.json >target/sbom.cdx.json && rm sbom.cdx.json
	@echo target/sbom.cdx.json

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

$(DENY) $(FUZZ) $(MUTANTS) $(SBOM):
	@echo "installing $(@F) into $(TOOLS)/, once; compiling it takes some minutes"
	cargo install --locked --root $(patsubst %/bin/,%,$(dir $@)) $(notdir $(patsubst %/bin/,%,$(dir $@)))

clean: ## remove what was built (the tools in .tools/ stay)
	cargo clean
	rm -rf .aws-sam .documents
