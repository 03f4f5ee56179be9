# From a fresh checkout: `make demo`, `make test`. Both do all set-up first (scripts/setup); again it is a no-op.

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help venv demo serve-demo test check lint bench crash soak soak-serve load powercut hostile robot fuzz-api clean ready-demo ready-test ready-bench

python := .venv/bin/python
# The command as a user has it; Debian keeps mkfs.xfs and libvirtd out of a user's PATH.
with_venv := PATH="$$PWD/.venv/bin:$$PATH:/usr/sbin:/sbin"
# Freed contents go back to the system: a fork takes the longer the more memory a process has. And modules are compiled
# once, also where the environment forbids to keep them: hundreds of commands are started.
lean := PYTHONDONTWRITEBYTECODE= MALLOC_ARENA_MAX=1 MALLOC_MMAP_THRESHOLD_=131072

help: ## List these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s  %s\n", $$1, $$2}' Makefile

venv: ready-demo ## Make .venv, with the command in it: .venv/bin/snapengine
	@echo "ready: .venv/bin/snapengine"

demo: ready-demo ## Show the engine at work on a small disk
	@$(with_venv) bash fixtures/demo.sh

serve-demo: ready-demo ## Show the server at work: the published call, a job, the tree
	@$(with_venv) bash fixtures/serve-demo.sh

test: ready-test ## Run the tests
	@$(with_venv) $(lean) $(python) -m pytest -n 4 --dist worksteal

check: lint test ## What each commit passes: lint and test

lint: ready-test ## Style and types: flake8, isort, mypy
	@echo "flake8" && $(python) -m flake8
	@echo "isort" && $(python) -m isort --quiet --check .
	@echo "mypy" && $(python) -m mypy

bench: ready-bench ## Measure and draw the charts
	@$(with_venv) $(python) -m bench

crash: ready-test ## Cut each verb off everywhere (long): VERB=.. FS=ext4|xfs HOW=kill|EIO|full|.. EVERY=10 WORKERS=2
	@$(with_venv) $(python) -m tests.crash $(if $(VERB),--verb "$(VERB)") $(if $(FS),--fs $(FS)) \
		$(if $(HOW),--how $(HOW)) $(if $(EVERY),--every $(EVERY)) $(if $(WORKERS),--workers $(WORKERS))

soak: ready-test ## Work from 8 processes at once, some of them killed: MINUTES=5 SEED=1
	@$(with_venv) $(python) -m tests.soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

soak-serve: ready-test ## Work over HTTP and by commands while the server is killed: MINUTES=5 SEED=1
	@$(with_venv) $(python) -m tests.soak --served $(if $(MINUTES),--minutes $(MINUTES)) $(if $(SEED),--seed $(SEED))

load: ready-test ## Read and write over HTTP as 40 clients at once: SECONDS=60 SEED=1
	@$(with_venv) $(lean) $(python) -m tests.load $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED))

powercut: ready-test ## Cut the power in every verb (root, long): FS=ext4|xfs VERBS='create;revert' SEEDS=3 SEED=0 CUTS=20
	@$(with_venv) $(python) -m tests.powercut $(if $(FS),--fs $(FS)) $(if $(VERBS),--verbs '$(VERBS)') \
		$(if $(SEEDS),--seeds $(SEEDS)) $(if $(SEED),--seed $(SEED)) $(if $(CUTS),--cuts $(CUTS)) \
		$(if $(BROKEN),--broken $(BROKEN))

hostile: ready-test ## Bring hostile images to every door, and mutants to prove that it counts (long): IMAGE=x DOOR=y
	@$(with_venv) $(python) -m tests.hostile $(if $(IMAGE),--image "$(IMAGE)") $(if $(DOOR),--door "$(DOOR)") \
		$(if $(IMAGE)$(DOOR),,--mutants)

robot: ready-test ## Walk at random over all verbs: STEPS=200 SEED=1 DISK=plain|xfs, or REPLAY=file
	@$(with_venv) $(python) -m tests.robot $(if $(STEPS),--steps $(STEPS)) $(if $(SEED),--seed $(SEED)) \
		$(if $(DISK),--disk $(DISK)) $(if $(REPLAY),--replay $(REPLAY))

fuzz-api: ready-test ## Let schemathesis make up requests to a server: EXAMPLES=100 SEED=1
	@$(with_venv) $(python) -m tests.fuzz_api $(if $(EXAMPLES),--examples $(EXAMPLES)) $(if $(SEED),--seed $(SEED))

clean: ## Remove .venv, caches and build output
	@rm -rf .venv .hypothesis .mypy_cache .pytest_cache .powercut .robot .crash .soak .load bench/out build dist *.egg-info
	@find . -name __pycache__ -prune -exec rm -rf {} +

ready-demo ready-test ready-bench:
	@sh scripts/setup $(@:ready-%=%)
