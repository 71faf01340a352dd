# Each of these does its own set-up: a virtual environment in .venv and caches in .cache, nothing outside this folder.
PYTHON ?= python3
export XDG_CACHE_HOME := $(CURDIR)/.cache
export XDG_CONFIG_HOME := $(CURDIR)/.cache/config
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: train test faults web lint clean

train: .venv/base  ## trains the CNN on the drawings in data/grades.db, made-up ones on the first run
	.venv/bin/python -m gradejax.main --config=configs/cnn.py

web: .venv/web  ## serves the pages to draw, guess and browse on
	.venv/bin/python -m gradejax.web

test: .venv/test  ## runs the test suite
	.venv/bin/python -m pytest -n auto --dist worksteal

faults: .venv/test  ## the long form of the tests that kill, fill, cut off and pester; see docs/reliability.md
	GRADEJAX_FAULTS=long .venv/bin/python -m pytest -rP tests/faults

lint: .venv/test  ## looks at the code's style
	.venv/bin/ruff check
	.venv/bin/ruff format --check

clean:  ## removes what the above have made, but for data/ and runs/
	rm -rf .venv .cache

.venv/base: EXTRAS =
.venv/web: EXTRAS = [web]
.venv/test: EXTRAS = [web,test]
# A Python that is named (make PYTHON=python3.13 test) takes the place of the one that .venv was made with.
NAMED := $(if $(filter-out file,$(origin PYTHON)),.venv/made-with-$(subst /,-,$(PYTHON)))
.venv/base .venv/web .venv/test: setup.cfg $(NAMED)
	@test -x .venv/bin/pip || { $(MAKE_VENV) }
	.venv/bin/pip install --quiet --editable '.$(EXTRAS)'
	@touch $@
$(NAMED):
	@$(MAKE_VENV)
	@touch $@

define MAKE_VENV
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo 'error: gradejax needs Python 3.11 or later: make PYTHON=python3.12 ...'; exit 1; }; \
$(PYTHON) -m venv --clear .venv || \
	{ rm -rf .venv; echo 'error: no venv module: apt install python3-venv'; exit 1; };
endef
