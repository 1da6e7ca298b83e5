# Every target that needs .venv calls the set-up first; it returns at once when nothing changed.
PY := .venv/bin/python
FAST ?= 0
PHOTO ?=
demo_flags := $(if $(filter-out 0,$(FAST)),--fast) $(if $(PHOTO),--photo "$(PHOTO)")

# A test process a core, each with whole files: many tests share what their file trained or exported. Each takes 1 GB.
workers := -n auto --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo cpp test system check matrix compare tables golden lock clean

help: ## this list
	@grep -E '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{printf "  make %-8s %s\n", $$1, $$2}'

setup: ## create or repair .venv from requirements.lock (PYTHON=... names the interpreter)
	@sh tools/setup_venv.sh

demo: setup ## data, training, export, Paddle-Lite, report.html (FAST=1: a minute; PHOTO=path: predicts it too)
	@$(PY) tools/demo.py $(demo_flags)

cpp: setup ## the C++ program build/cpp/segment, from the wheels in .venv (deploy/cpp/README.md names the Debian packages)
	@command -v cmake >/dev/null || { echo "make cpp needs cmake; deploy/cpp/README.md has the apt line" >&2; exit 1; }
	@cmake -S deploy/cpp -B build/cpp -DPython="$(CURDIR)/$(PY)"
	@MAKEFLAGS=--no-print-directory cmake --build build/cpp --parallel 2

test: setup ## the tests, without those of `make system` and `make matrix`
	@$(PY) -m pytest -q $(workers) -m "not matrix and not system"

system: setup ## the C++ program, the server under attack, its page in a browser, all faults of a phone (.ci/run names the Debian packages)
	@$(PY) -m pytest -q $(workers) -m "system and not matrix"

check: setup ## lint, format, spelling, architecture
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m codespell_lib
	@$(PY) -m pytest -q tests/test_architecture.py tests/test_import_arrows.py

matrix: setup ## the long tables of tests
	@$(PY) -m pytest -q $(workers) -m matrix

compare: setup ## the published comparisons, measured on this machine: output/compare/compare.html
	@$(PY) tools/compare.py

tables: setup ## rewrite the tables of configs/*/README.md and of README.md
	@$(PY) tools/config_tables.py

golden: setup ## write tests/golden/VARIANT.json (VARIANT=name PADDLESEG=path to a checkout; CONFIG=path for a new variant)
	@PYTHONPATH="$(CURDIR)/tests" $(PY) -m golden.make_golden "$(VARIANT)" "$(PADDLESEG)" $(if $(CONFIG),--config "$(CONFIG)")

# The override takes opencv-python out of the resolution: paddleseg asks for it, the headless wheel replaces it.
lock: ## rewrite requirements.lock from requirements.txt and requirements-dev.txt (needs uv)
	@command -v uv >/dev/null || { echo "make lock needs uv: https://docs.astral.sh/uv/" >&2; exit 1; }
	@override=$$(mktemp) && trap 'rm -f "$$override"' EXIT && \
	echo 'opencv-python; sys_platform == "never"' >"$$override" && \
	uv pip compile requirements.txt requirements-dev.txt --override "$$override" --python-version 3.10 \
	  --no-config --generate-hashes \
	  --custom-compile-command "make lock" --quiet --output-file requirements.lock
	@echo "requirements.lock: $$(grep -c '^[a-z].*==' requirements.lock) packages"

clean: ## remove caches and build products; .venv, data and output stay
	@rm -rf build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	@find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
