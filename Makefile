# Each target sets itself up: a virtual environment in .venv, caches in .cache, nothing outside this folder.
PYTHON ?= python3
export XDG_CACHE_HOME := $(CURDIR)/.cache
export XDG_CONFIG_HOME := $(CURDIR)/.cache/config
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: train web test faults lint docs clean

train: .venv/base  ## trains the CNN on the drawings in data/grades.db, synthetic ones on the first run; SCALE=german names their scale
	.venv/bin/python -m gradejax.main --config=configs/cnn.py $(if $(SCALE),--scale='$(SCALE)')

web: .venv/web  ## serves the pages to draw, guess and browse on
	.venv/bin/python -m gradejax.web

test: .venv/test  ## runs the test suite
	.venv/bin/python -m pytest -n auto --dist worksteal

faults: .venv/test  ## runs the fault tests in their long form; see docs/reliability.md
	GRADEJAX_FAULTS=long .venv/bin/python -m pytest -rP tests/faults

lint: .venv/test  ## checks style and types
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/pyright

docs: .venv/docs  ## builds the documentation's site in site/
	rm -rf .cache/docs site
	mkdir -p .cache/docs/pages
	cp zensical.toml .cache/docs
	cp -R README.md CONTRIBUTING.md CHANGELOG.md LICENSE configs docs experiments gradejax notebooks .cache/docs/pages
	rm -rf .cache/docs/pages/gradejax/web/static .cache/docs/pages/gradejax/export/static
	find .cache/docs/pages -name __pycache__ -prune -exec rm -r {} +
	.venv/bin/zensical build --strict --config-file .cache/docs/zensical.toml
	mv .cache/docs/site site

clean:  ## removes what the targets above made, except data/ and runs/
	rm -rf .venv .cache site

.venv/base: EXTRAS =
.venv/web: EXTRAS = [web,onnx]
.venv/test: EXTRAS = [web,test]
.venv/docs: EXTRAS = [docs]
# A Python named on the command line (make PYTHON=python3.13 test) replaces the one that .venv was made with.
NAMED := $(if $(filter-out file,$(origin PYTHON)),.venv/made-with-$(subst /,-,$(PYTHON)))
.venv/base .venv/web .venv/test .venv/docs: setup.cfg $(NAMED)
	@test -x .venv/bin/pip || { $(MAKE_VENV) }
	@$(INSTALL)
	@touch $@
$(NAMED):
	@$(MAKE_VENV)
	@touch $@

# The first command starts as fast as the next. CI leaves it out: it would compile much that no test imports.
COMPILE = --compile-bytecode

# With uv in half the time; where only pip is set up for a mirror, with pip.
define INSTALL
.venv/bin/pip install --quiet uv && \
	.venv/bin/uv pip install --quiet $(COMPILE) --python .venv/bin/python --editable '.$(EXTRAS)' || \
	.venv/bin/pip install --quiet --editable '.$(EXTRAS)'
endef

define MAKE_VENV
$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo 'error: gradejax needs Python 3.11 or later: make PYTHON=python3.12 ...'; exit 1; }; \
$(PYTHON) -m venv --clear .venv || \
	{ rm -rf .venv; echo 'error: no venv module: apt install python3-venv'; exit 1; };
endef
