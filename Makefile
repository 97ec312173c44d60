# Everything runs in .venv (classic Theano: .venv-theano), which tools/setup.sh makes and keeps up
# to date. PYTHON=... names the interpreter to make it with.

PY = .venv/bin/python
NBVAL = --nbval --nbval-current-env --nbval-cell-timeout=600
BOOKFLAGS =
ARGS =

# What the caller's shell has set for other work stays out; IPython's own start-up files do too.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV
export PYTHONNOUSERSITE = 1
export IPYTHONDIR = $(CURDIR)/.cache/ipython

.PHONY: help book test lab theano notebooks bench lock lint clean env
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

book: env ## build the book; prints the address of its first page
	@echo "Building the book ..."
	@.venv/bin/jupyter-book build -q $(BOOKFLAGS) . >/dev/null
	@$(PY) -c 'from pathlib import Path; print("The book is _build/html/index.html; to open it:", \
		Path("_build/html/index.html").absolute().as_uri())'

test: env ## run every test, the notebooks among them (ARGS="-k sparse" picks)
	@$(PY) -m pytest $(NBVAL) $(ARGS)

lab: env ## open the notebooks in JupyterLab
	@$(PY) -m jupyterlab --notebook-dir=notebooks $(ARGS)

theano: ## run library and notebooks on classic Theano 1.0.5 (Python 3.11, a C++ compiler)
	@sh tools/setup.sh theano
	@RAREBOOK_BACKEND=theano IPYTHONDIR="$(CURDIR)/.cache/ipython-theano" \
		.venv-theano/bin/python -m pytest $(NBVAL) \
		--ignore-glob="tests/*book*.py" --ignore=tests/test_setup.py \
		--ignore=tests/test_contributing.py $(ARGS)

notebooks: env ## execute the notebooks in place (ARGS="notebooks/02_*.ipynb" picks)
	@$(PY) tools/run_notebooks.py $(ARGS)

bench: env ## run the measurements behind the book's figures
	@for script in $(sort $(wildcard benchmarks/*.py)); do \
		echo "$$script"; $(PY) "$$script" || exit 1; done

lock: ## write both requirements files anew from pyproject.toml (ARGS=--upgrade for newer pins)
	@sh tools/setup.sh lock
	@$(UV) --extra pytensor --extra data --extra book --extra test -o requirements.txt
	@$(UV) --extra theano --extra data --extra test -o requirements-theano.txt

UV = .cache/lock/bin/python -m uv pip compile --quiet --universal --python-version 3.11 \
	--no-emit-index-url --custom-compile-command "make lock" pyproject.toml $(ARGS)

lint: env ## check style and format
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

clean: ## remove everything that make made, the environments too
	rm -rf _build .cache .venv .venv-theano .hypothesis lib/*.egg-info

env:
	@sh tools/setup.sh
