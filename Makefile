# Everything runs in .venv (classic Theano: .venv-theano), which tools/setup.sh makes and keeps up
# to date. PYTHON=... names the interpreter to make it with.

PY = .venv/bin/python
NBVAL = --nbval --nbval-current-env --nbval-cell-timeout=600
# Two processes, each with whole files and one thread for products. Not for classic Theano, where
# one process compiles at a time.
SIDE_BY_SIDE = -n 2 --dist loadscope
BOOKFLAGS =
ARGS =
CHAPTER =

# What the caller's shell has set for other work stays out; IPython's own start-up files do too.
unexport PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV
export PYTHONNOUSERSITE = 1
export IPYTHONDIR = $(CURDIR)/.cache/ipython

.PHONY: help book pdf test check lab theano notebooks launch bench timings links lock lint clean env
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

book: env ## build the book; prints the address of its first page
	@echo "Building the book ..."
	@.venv/bin/jupyter-book build -q $(BOOKFLAGS) . >/dev/null
	@$(PY) -c 'from pathlib import Path; print("The book is _build/html/index.html; to open it:", \
		Path("_build/html/index.html").absolute().as_uri())'

pdf: env ## print the book to one PDF file (needs Chromium; CHAPTER=07 prints one chapter)
	@$(PY) tools/make_pdf.py $(CHAPTER)

test: env ## run every test, the notebooks among them (ARGS="-k sparse" picks)
	@OPENBLAS_NUM_THREADS=1 $(PY) -m pytest $(NBVAL) $(SIDE_BY_SIDE) $(ARGS)

check: env ## run the chapters as tests, side by side (CHAPTER=07 or a part of its name: that one)
	@$(PY) tools/check_chapters.py $(CHAPTER)

lab: env ## open the notebooks in JupyterLab (ARGS=notebooks/07_....ipynb opens that one)
	@$(PY) -m jupyterlab --notebook-dir=notebooks \
		$(if $(filter %.ipynb,$(ARGS)),,notebooks/README.ipynb) $(ARGS)

theano: ## run library and notebooks on classic Theano 1.0.5 (Python 3.11, a C++ compiler)
	@sh tools/setup.sh theano
	@export RAREBOOK_BACKEND=theano IPYTHONDIR="$(CURDIR)/.cache/ipython-theano"; \
		flags=$$(.venv-theano/bin/python tools/precompile_headers.py .cache/theano) && \
		THEANO_FLAGS="gcc.cxxflags=$$flags,$$THEANO_FLAGS" \
		.venv-theano/bin/python -m pytest $(NBVAL) \
		--ignore-glob="tests/*book*.py" --ignore=tests/test_setup.py \
		--ignore=tests/test_contributing.py $(ARGS)

notebooks: launch ## execute the notebooks in place (ARGS="notebooks/02_*.ipynb" picks)
	@$(PY) tools/run_notebooks.py $(ARGS)

launch: env ## write the first cell of the chapters, from `repository:` in _config.yml
	@$(PY) tools/launch_cells.py

bench: env ## run the measurements behind the book's figures
	@for script in $(sort $(wildcard benchmarks/*.py)); do \
		echo "$$script"; $(PY) "$$script" || exit 1; done

timings: env ## measure the book: every chapter warm and cold, the build, the checks (25 minutes)
	@$(PY) tools/time_book.py $(ARGS)

links: env ## ask every address that the book links for an answer (needs a network)
	@$(PY) tools/check_links.py

lock: ## write both requirements files anew from pyproject.toml (ARGS=--upgrade for newer pins)
	@sh tools/setup.sh lock
	@$(UV) --extra pytensor --extra data --extra book --extra browser --extra test -o requirements.txt
	@$(UV) --extra theano --extra data --extra test -o requirements-theano.txt

UV = .cache/lock/bin/python -m uv pip compile --quiet --universal --python-version 3.11 \
	--no-emit-index-url --custom-compile-command "make lock" pyproject.toml $(ARGS)

lint: env ## check style and format
	@$(PY) -m ruff check . && $(PY) -m ruff format --check .

clean: ## remove everything that make made, the environments too
	rm -rf _build .cache .venv .venv-theano .hypothesis lib/*.egg-info

env:
	@sh tools/setup.sh
