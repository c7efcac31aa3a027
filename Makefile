# make run   — everything from nothing: virtual environment, drivers where the machine has none, the main job
# make test  — the same preparation, then lint, types and tests
# Both install what requirements-dev.lock pins.
# For developers of vkprobe: make lock, kernels, registry, intel-shim, clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LOCK := requirements-dev.lock
# Some tests wait for a time-out: one process more than there are cores.
WORKERS = $(shell $(BIN)/python -c 'import os; print(len(os.sched_getaffinity(0)) + 1)')
RUN_NAME ?= run-$(shell date +%F)
INTEL_SHIM_BUILT := $(or $(VKPROBE_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/vkprobe)/shims/libintel_noop_drm_shim.so
ifeq ($(VKPROBE_INTEL_SHIM),)
ifneq ($(wildcard $(INTEL_SHIM_BUILT)),)
export VKPROBE_INTEL_SHIM := $(INTEL_SHIM_BUILT)
endif
endif

.PHONY: run test test-drivers lint lock kernels registry intel-shim clean

run: $(VENV)/installed
	$(BIN)/vkprobe drivers fetch --if-needed
	@mkdir -p reports
	$(BIN)/vkprobe run $(ARGS) -o reports/$(RUN_NAME).jsonl --html reports/$(RUN_NAME).html
	@echo "records: reports/$(RUN_NAME).jsonl   report: reports/$(RUN_NAME).html"

test: $(VENV)/installed-dev
	@$(MAKE) --no-print-directory --jobs 2 --output-sync lint test-drivers
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

test-drivers: $(VENV)/installed-dev
	$(BIN)/vkprobe drivers fetch --layers
	$(BIN)/vkprobe drivers fetch --suite trixie

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Resolve every dependency anew, for each Python from 3.10 on. Only this target needs uv.
lock: | $(VENV)/bin/python
	$(BIN)/pip install --quiet 'uv>=0.9'
	$(BIN)/uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 --upgrade --quiet \
		--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' --output-file $(LOCK)

kernels: $(VENV)/installed-dev
	$(BIN)/python -m tools.kernels $(ARGS)

registry: $(VENV)/installed-dev
	$(BIN)/python -m tools.registry
	$(BIN)/python -m tools.profile_names

intel-shim: $(VENV)/installed-dev
	$(BIN)/python -m tools.intel_shim $(INTEL_SHIM_BUILT)

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: no $(PYTHON): install Python 3.10 or newer, or name one with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { echo "make: $(PYTHON) is older than 3.10; name a newer one with PYTHON=..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: $(PYTHON) has no venv module: install it (Debian: apt-get install python3-venv)"; exit 1; }
	$(PYTHON) -m venv $(VENV)

# setuptools comes from the lock too, so the build takes no other version: hence --no-build-isolation.
$(VENV)/installed: pyproject.toml $(LOCK) | $(VENV)/bin/python
	$(BIN)/pip install --quiet --constraint $(LOCK) setuptools
	$(BIN)/pip install --quiet --constraint $(LOCK) --no-build-isolation --editable .
	@touch $@

$(VENV)/installed-dev: pyproject.toml $(LOCK) | $(VENV)/bin/python
	$(BIN)/pip install --quiet --requirement $(LOCK)
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
