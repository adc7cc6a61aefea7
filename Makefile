PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup demo test lint checkov docs roles failures bench cluster deployment clean

setup: $(VENV)/.installed

$(VENV)/.installed: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps -e .
	touch $@

demo: setup
	rm -rf demo
	$(BIN)/pomona sample demo/images
	$(BIN)/pomona run demo/images demo/results

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck src/pomona/cluster/bootstrap.sh
	$(BIN)/cfn-lint -r eu-west-1 eu-central-1 -- src/pomona/cloud/template.yaml

# In an environment of its own: checkov pins older versions of what Pomona uses.
checkov: .checkov/.installed
	.checkov/bin/checkov --quiet --compact --skip-download -f src/pomona/cloud/template.yaml

.checkov/.installed: .ci/checkov.txt
	$(PYTHON) -m venv .checkov
	.checkov/bin/python -m pip install --quiet --require-hashes -r .ci/checkov.txt
	touch $@

test: setup
	$(BIN)/pytest

docs: setup
	$(BIN)/python -m sphinx -W --keep-going -q docs docs/_build
	@echo docs/_build/index.html

roles: setup
	$(BIN)/python benchmarks/roles.py

failures: setup
	$(BIN)/python benchmarks/failures.py

bench: setup
	$(BIN)/python -m benchmarks.suite $(if $(QUICK),--quick) $(ARGS)

cluster: setup
	$(BIN)/python benchmarks/cluster.py trials

deployment: setup
	$(BIN)/python benchmarks/deployment.py

clean:
	rm -rf demo $(VENV) .checkov
