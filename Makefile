# Everything runs from a bare clone: the first target that needs it makes .venv (network needed then, never later).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help book test lab results verify bench strip clean

BIN := .venv/bin
STAMP := .venv/.iclbook-installed
LAB_STAMP := .venv/.iclbook-lab-installed
VERSION_OK := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# One thread a process: two busy processes share two cores, and equal thread counts give equal bits.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' Makefile

book: $(STAMP)  ## build the book into _build/html, all notebooks executed
	$(BIN)/jupyter-book build . --all -n -W --keep-going

# One chapter after another: two kernels that start at once can draw the same port, and one never answers.
test: $(STAMP)  ## run the unit tests, then every chapter as a test
	@status=0; \
	$(BIN)/pytest tests -n 2 --dist loadfile || status=1; \
	ICLBOOK_PROFILE=quick $(BIN)/pytest chapters --nbval-lax --nbval-current-env --nbval-cell-timeout 120 \
	    || status=1; \
	exit $$status

lab: $(LAB_STAMP)  ## open the chapters in JupyterLab
	$(BIN)/jupyter lab chapters

results: $(STAMP)  ## compute every missing stored result (full profile; stop and resume as you like)
	$(BIN)/iclbook run --all --jobs 2

verify: $(STAMP)  ## recompute a part of every stored result and compare
	$(BIN)/iclbook verify

bench: $(STAMP)  ## time the package beside the straightforward way, one benchmark after another
	@for file in benchmarks/*.py; do echo "$$file"; $(BIN)/python "$$file" || exit 1; done

strip: $(STAMP)  ## remove outputs from the chapters before a commit
	find chapters -name '*.ipynb' -not -path '*/.ipynb_checkpoints/*' -print0 | xargs -0 $(BIN)/nbstripout

clean:  ## remove what was built; .venv and results stay
	rm -rf _build .pytest_cache .hypothesis
	find chapters iclbook tests _ext -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): requirements.txt pyproject.toml
	@if [ ! -x $(BIN)/python ]; then \
	    for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	        $$python -c '$(VERSION_OK)' 2>/dev/null && found=$$python && break; \
	    done; \
	    [ -n "$$found" ] || { echo "The book needs Python 3.11, 3.12 or 3.13: install one, or name it: make PYTHON=python3.12"; exit 1; }; \
	    $$found -m venv .venv || exit 1; \
	fi; \
	$(BIN)/python -c '$(VERSION_OK)' || { echo ".venv holds another Python than 3.11, 3.12 or 3.13: delete .venv and run make again"; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	@# Without compiled files every kernel starts seconds later; without its font cache so does the first plot.
	@$(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true
	@$(BIN)/python -c 'import matplotlib.pyplot'
	@touch $@

$(LAB_STAMP): $(STAMP) requirements-lab.txt
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-lab.txt
	@touch $@
