# The verbs. Each sets up what is missing first (tools/setup.py); a second run of that costs nothing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: test check fmt

test:                     ## every test; exit 0 only if all passed
	@$(PYTHON) tools/setup.py --test
	@$(BIN)/python -m pytest -q

check:                    ## format, lint, types, import contracts
	@$(PYTHON) tools/setup.py --dev
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; rm -f .lint-imports.log; exit 1; }
	@rm -f .lint-imports.log

fmt:                      ## format, and fix what can be fixed
	@$(PYTHON) tools/setup.py --dev
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --fix --quiet
