# The verbs. Each sets up what is missing first (tools/setup.py); a second run of that costs nothing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: serve test torture check bench nano fmt

serve:                    ## everything on this machine; HOST, PORT, DATA and CONFIG override
	@$(PYTHON) tools/setup.py
	@exec $(BIN)/techstone serve $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) \
	  $(if $(DATA),--data $(DATA)) $(if $(CONFIG),--config $(CONFIG))

test:                     ## every test; exit 0 only if all passed
	@$(PYTHON) tools/setup.py --test
	@$(BIN)/python -m pytest -q

torture:                  ## the long runs of what must never happen; SEED picks another course
	@$(PYTHON) tools/setup.py --test
	@TORTURE=1 $(BIN)/python -m pytest -q -s tests/torture tests/contract/test_ledger.py \
	  tests/system/test_openapi.py tests/system/test_bombs.py tests/system/test_bounds.py tests/system/test_chat.py \
	  tests/system/test_rolling.py tests/system/test_planes.py tests/contract/test_limit_rules.py

check:                    ## format, lint, types, import contracts, dead links
	@$(PYTHON) tools/setup.py --dev
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache > .lint-imports.log || { cat .lint-imports.log; rm -f .lint-imports.log; exit 1; }
	@rm -f .lint-imports.log
	@$(BIN)/python tools/links.py

bench:                    ## side by side with nginx, and with the peers that are pointed to
	@$(PYTHON) tools/setup.py --bench
	@$(BIN)/python bench/run.py

nano:                     ## train the built-in model from scratch (90 minutes), measure it, write its card
	@$(PYTHON) tools/setup.py --nano
	@models/nano/.venv/bin/python models/nano/build.py

fmt:                      ## format, and fix what can be fixed
	@$(PYTHON) tools/setup.py --dev
	@$(BIN)/ruff format --quiet
	@$(BIN)/ruff check --fix --quiet
