# What one does with this project. `make` alone lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.PHONY: help demo stop run doctor test test-all test-aws lint bench soak image

# The test bed's settings, where it has been brought up: its programs and the node image of its clusters.
bed = env=$${RIG_CACHE:-$$HOME/.cache/on-demand-rig}/env; [ ! -e "$$env" ] || . "$$env"

# What ends whichever way make ends, SIGKILL included.
ends_with_make = setpriv --pdeathsig TERM

help: ## list what there is
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' Makefile | expand -t 18

demo: ## set up what is missing, start a server, deploy examples/hello, leave it running
	@examples/demo up

stop: ## end the demo: its server, and its cluster if the demo made it
	@examples/demo down

run: ## run the server in the foreground, with .env if there is one
	@$(bed); cargo run --locked -- serve

doctor: ## check tools, credentials and settings
	@$(bed); cargo run --quiet --locked -- doctor

test: ## set up what is missing and run all tests, on real tools
	@exec $(ends_with_make) tests/run

test-all: ## the same with every kill point of every plan, the console and a real Open WebUI in a browser, a real Codex, the container image, the compose file and the chart
	@$(ends_with_make) tests/run all
	$(ends_with_make) tests/reaper tests/console/run
	$(ends_with_make) tests/reaper tests/clients/open_webui/run
	$(ends_with_make) tests/reaper tests/clients/codex/run
	$(ends_with_make) tests/reaper tests/image

test-aws: ## the life of an application on EC2 and EKS on the account of the environment: asks before it costs, sweeps afterwards
	@$(ends_with_make) tests/real/test-aws

lint: ## formatting, clippy, documentation, licences and banned crates, scripts, workflows, links of the docs, Terraform modules, deploy/
	cargo fmt --check
	RUSTC_WORKSPACE_WRAPPER=$$PWD/.ci/lint-driver CLIPPY_ARGS=-Dwarnings cargo test --locked --no-run
	"$$(tests/rig/deny/up)" --locked check --hide-inclusion-graph bans licenses sources
	shellcheck="$$(tests/rig/shellcheck/up)"
	"$$shellcheck" -s bash templates/host/bootstrap
	"$$shellcheck" -s sh src/tool/script/*.sh src/host/*.sh
	"$$shellcheck" .ci/run .ci/api-changes .ci/lint-driver .ci/release-build .ci/release-notes
	"$$(tests/rig/actionlint/up)" -shellcheck "$$shellcheck" -pyflakes=
	"$$(tests/rig/lychee/up)" --offline --include-fragments --no-progress $$(git ls-files '*.md')
	tests/modules/check
	tests/deploy/check

bench: ## measure against the same work by hand, and what the server itself costs
	@benches/run

soak: ## everything at once for SOAK_MINUTES (30), with three kills: nothing may fail, grow or stay
	@$(bed); SOAK_MINUTES=$${SOAK_MINUTES:-30} $(ends_with_make) cargo test --locked --test it -- --exact soak::a_server_that_is_used_and_killed_for_long_leaves_nothing_behind --nocapture

image: ## build the container image as on-demand-infra:latest
	docker build -t on-demand-infra:latest .
