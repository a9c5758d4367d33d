# The two commands of a newcomer are `make demo` and `make test`; each sets up everything it needs.
PYTHON ?= python3
BIN := .venv/bin
BENCH := .venv-bench

# Without compiled modules, which some containers switch off, each command would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test check coverage bench bench-smoke gpu-check soak setup clean

demo: setup
	@$(BIN)/cebctl submit experiments/digits.yaml --on local --wait
	@$(BIN)/cebctl report experiments/digits.yaml
	@$(BIN)/cebctl report experiments/digits.yaml --html .cebctl/report.html

# Tests on a real Slurm mostly wait for it, so that more of them than cores run side by side.
test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal --durations 20 --ignore tests/slurm
	$(BIN)/python -m pytest -n 4 --dist worksteal --durations 20 tests/slurm

# Branches as well as lines, of every process that a test starts; fails under the share that pyproject.toml names.
coverage: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal --ignore tests/slurm --cov --cov-report term:skip-covered

# Ratios against others in one run, into benchmarks/README.md and benchmarks/history.jsonl: some fifteen minutes.
bench: $(BENCH)/ready
	@$(BENCH)/bin/python benchmarks/run.py

# That each benchmark runs and prints a ratio: tiny, and without the others.
bench-smoke: setup
	@$(BIN)/python benchmarks/run.py --smoke

# The engine on a GPU against the CPU, and how fast it is, in under ten minutes; called again it goes on with what is
# missing or has failed. `make gpu-check GPU="--device cpu --small"` tries the check itself.
GPU ?=
gpu-check: setup
	@$(BIN)/python -m benchmarks.gpu $(GPU)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Hours of interruptions instead of minutes: ten at random in each resumed run, a thousand kill -9 of the store, damaged
# inputs by the ten thousand, and a thousand faults in submissions, with which an interrupted campaign of a SEED goes on.
SEED ?= 1
soak: SHELL := /bin/bash -o pipefail
soak: setup
	$(BIN)/python -m pytest -m soak 2>&1 | tee soak.log
	$(BIN)/python tests/store/crash_trials.py --kills 1000 --seed $$$$ 2>&1 | tee -a soak.log
	$(BIN)/python -m pytest --hypothesis-profile soak --timeout 0 tests/campaign/test_fuzz.py tests/cebctl/test_junk.py 2>&1 | tee -a soak.log
	$(BIN)/python tests/campaign/fault_trials.py --seed $(SEED) --faults 1000 --jobs 2 --out soak-$(SEED).jsonl 2>&1 | tee -a soak.log

setup: .venv/ready

# uv fills the environment in seconds; where there is none, pip fetches it into the environment itself.
.venv/ready: pyproject.toml constraints.txt
	@echo "setting up .venv (torch is large: a minute or two where it has to be downloaded)"
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@command -v uv >/dev/null || test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --constraint constraints.txt uv
	@"$$(command -v uv || echo $(BIN)/uv)" pip install --quiet --python $(BIN)/python --constraint constraints.txt --editable . --group dev
	@touch $@

# sqlite-utils has an environment to itself, because it imports pandas where there is one.
$(BENCH)/ready: benchmarks/requirements.txt .venv/ready
	@echo "setting up $(BENCH) (what the benchmarks compare with: a minute or two where it has to be downloaded)"
	@$(BIN)/python -m venv --without-pip --clear $(BENCH) && $(BIN)/python -m venv --without-pip $(BENCH)/sqlite-utils
	@uv="$$(command -v uv || echo $(BIN)/uv)"; \
	$$uv pip sync --quiet --python $(BENCH)/bin/python $< && \
	$$uv pip install --quiet --python $(BENCH)/bin/python --no-deps --editable . && \
	$$uv pip install --quiet --python $(BENCH)/sqlite-utils/bin/python --constraint $< sqlite-utils
	@touch $@

clean:
	rm -rf .venv $(BENCH) .cebctl
