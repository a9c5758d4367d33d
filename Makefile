# The two commands of a newcomer are `make demo` and `make test`; each sets up everything it needs.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test check soak setup clean

demo: setup
	@$(BIN)/cebctl submit experiments/digits.yaml --on local --wait
	@$(BIN)/cebctl report experiments/digits.yaml
	@$(BIN)/cebctl report experiments/digits.yaml --html .cebctl/report.html

# Tests on a real Slurm mostly wait for it, so that more of them than cores run side by side.
test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore tests/slurm
	$(BIN)/python -m pytest -n 4 --dist worksteal tests/slurm

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Hours of interruptions instead of minutes: ten at random in each resumed run, a thousand kill -9 of the store.
soak: SHELL := /bin/bash -o pipefail
soak: setup
	$(BIN)/python -m pytest -m soak 2>&1 | tee soak.log
	$(BIN)/python tests/store/crash_trials.py --kills 1000 --seed $$$$ 2>&1 | tee -a soak.log

setup: .venv/ready

# uv fills the environment in seconds; where there is none, pip fetches it into the environment itself.
.venv/ready: pyproject.toml constraints.txt
	@echo "setting up .venv (torch is large: a minute or two where it has to be downloaded)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	@"$$(command -v uv || echo $(BIN)/uv)" pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable . --group dev
	@touch $@

clean:
	rm -rf .venv .cebctl
