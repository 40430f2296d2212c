# make train      set up .venv and train the embedded default
# make test       the tests that run in minutes, the type checker, the linter
# make test-all   the slow tests too
# make gpu        tests, benchmarks and a short training on a CUDA GPU
# make wandb-check  a short run, its workspace and report at W&B itself, with WANDB_API_KEY
# make docs       the site, in docs/_build/html; a warning is an error
# make figures    draw the pictures of docs/figures anew
# make lock       pin anew what pyproject.toml allows
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready

.PHONY: install train test test-all gpu wandb-check lint types lock clean docs figures

install: $(READY)

# A lock of hashes first, then the package itself, editable, without looking at its dependencies.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: make PYTHON=python3.12")'
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --quiet --require-hashes -r requirements.lock
	$(PY) -m pip install --quiet --no-deps -e .
	touch $@

train: install
	$(PY) src/train.py $(ARGS)

# Two at a time, as a test computes with one thread.
test: install lint types
	$(PY) -m pytest -n 2 -m "not slow and not reliability and not gpu and not network" $(ARGS)

test-all: install lint types
	$(PY) -m pytest -n 2 -m "not gpu and not network" $(ARGS)

# With an interpreter of your own, such as `make gpu PY=python3`, nothing is installed. It may have
# another build of torch than the lock's, with other warnings, so these are no errors here.
gpu: $(if $(filter $(VENV)/bin/python,$(PY)),install)
	@$(PY) -c 'import sys, torch; sys.exit(0 if torch.cuda.is_available() else "make gpu: no CUDA GPU here")'
	$(PY) -m pytest -m gpu -W default $(ARGS)
	$(PY) src/bench.py device=cuda results=benchmarks/results \
	  'what=[limits,step,inference,lrn,overhead,checkpoint,training]'

wandb-check: install
	$(PY) -m pytest -m network tests/reporting/test_dashboard.py $(ARGS)

figures: install
	$(PY) -m deeper.figures

lint: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .

types: install
	$(PY) -m mypy

docs: install
	$(PY) docs/config.py
	$(PY) -m sphinx -W --keep-going -b html docs docs/_build/html

# uv is needed here alone: pip install uv
lock:
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 \
	  --generate-hashes --no-annotate --quiet -o requirements.lock

clean:
	rm -rf $(VENV) .cache data logs docs/_build
