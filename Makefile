# Two commands do everything: `make run` and `make test`. Each target is one script
# under scripts/; nothing here needs more than Python, make and git.

WITH_PYTHON := scripts/with-python
.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- Run ---------------------------------------------------------------------

.PHONY: run
run: ## Start everything here: API, worker, beat, broker and bank simulator
	@exec $(WITH_PYTHON) scripts/run.py

.PHONY: demo
demo: ## The same on data of its own, with a believable day in it
	@exec $(WITH_PYTHON) scripts/run.py --demo

.PHONY: serve
serve: ## Serve the API as in production (DATABASE_URL=… CELERY_BROKER_URL=… PORT=8000)
	@exec $(WITH_PYTHON) scripts/serve.py

# --- Test --------------------------------------------------------------------

.PHONY: test
test: ## Test everything, on every database and broker that answers on loopback (ARGS="-k name")
	@exec $(WITH_PYTHON) scripts/test.py $(ARGS)

.PHONY: test-sqlite
test-sqlite: ## The quick round: SQLite only, nothing marked slow
	@exec $(WITH_PYTHON) scripts/test.py --quick $(ARGS)

.PHONY: chaos
chaos: ## Clients against faults, then a verdict (SECONDS=120 SEED=… DATABASE_URL=… ARGS="--help")
	@SECONDS=$(SECONDS) SEED=$(SEED) DATABASE_URL=$(DATABASE_URL) \
		$(WITH_PYTHON) scripts/drill.py chaos $(ARGS)

.PHONY: crash-sweep
crash-sweep: ## Kill real processes at every statement, commit and bank call (ARGS="--help")
	@exec $(WITH_PYTHON) scripts/drill.py crash_sweep $(ARGS)

.PHONY: attack
attack: ## Hostile clients of each kind, and what a stranger gets meanwhile (ARGS="--help")
	@exec $(WITH_PYTHON) scripts/drill.py attack $(ARGS)

.PHONY: sabotage
sabotage: ## Switch each guard off in a scratch copy: the tests must go red (ARGS="--help")
	@exec $(WITH_PYTHON) scripts/drill.py sabotage $(ARGS)

.PHONY: drill-restore
drill-restore: ## Restore each kind of backup by the recipes of docs/production.md (ARGS="--help")
	@exec $(WITH_PYTHON) scripts/drill.py restore $(ARGS)

.PHONY: bench
bench: ## Measure speed and punctuality on PostgreSQL and Redis (ARGS="--quick", "--only endpoints", "--memory")
	@exec $(WITH_PYTHON) scripts/bench.py benchmarks $(ARGS)

.PHONY: near-due
near-due: ## A hundred withdrawals a second, due at once: how late a stranger's is (ARGS="--help")
	@exec $(WITH_PYTHON) scripts/bench.py benchmarks.near_due $(ARGS)

.PHONY: costs
costs: ## What the feed of events, and a key, cost a deposit (ARGS="--help")
	@exec $(WITH_PYTHON) scripts/bench.py benchmarks.costs $(ARGS)

.PHONY: check
check: ## Format, lint, types, layers, migrations, deployment settings, OpenAPI, fuzzed API
	@exec $(WITH_PYTHON) scripts/check.py

# --- Maintain ----------------------------------------------------------------

.PHONY: docs
docs: ## Write docs/openapi.yaml and docs/problems.md from the code
	@exec $(WITH_PYTHON) scripts/docs.py

.PHONY: lock
lock: ## Pin the dependencies of pyproject.toml again (UPGRADE=1: take the newest)
	@$(WITH_PYTHON) scripts/install.py dev
	@exec scripts/lock

.PHONY: clean
clean: ## Remove what can be made again; the database and var/ stay
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis staticfiles scripts/openapi/node_modules
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
