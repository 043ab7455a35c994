# Everything runs from a bare clone: the first target that needs it makes .venv (network needed then, never later).
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help book pdf student instructor slides rehearse test test-plain chapters check-site lab results verify bench mutants trust strip clean in-place

BIN := .venv/bin
STAMP := .venv/.iclbook-installed
LAB_STAMP := .venv/.iclbook-lab-installed
SITE_STAMP := .venv/.iclbook-site-installed
MUTANTS_STAMP := .venv/.iclbook-mutants-installed
VERSION_OK := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))

# One thread a process: two busy processes share two cores, and equal thread counts give equal bits.
export OMP_NUM_THREADS := 1
export MKL_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1

# The browser that looks at the built pages; without one they are not looked at.
BROWSER := $(firstword $(foreach name,chromium chromium-browser google-chrome,$(shell command -v $(name))))

# Two at a time. Who is done with its tests takes over some of the other's; a chapter's cells stay
# together. chapters/conftest.py lets kernels start one after another.
TESTS := -n 2 --dist worksteal
NBVAL := --nbval-lax --nbval-current-env --nbval-cell-timeout 120 -n 2 --dist loadfile

# What a processor without the newer instruction sets computes. numpy ignores names that it does not
# know without a word, so tests/house/test_plain.py looks at what is active.
PLAIN := ICLBOOK_PLAIN=1 ATEN_CPU_CAPABILITY=default OPENBLAS_CORETYPE=Prescott MKL_CBWR=COMPATIBLE \
    NPY_DISABLE_CPU_FEATURES="X86_V3 X86_V4 AVX512_ICL AVX512_SPR"

COMPUTING := tests/iclbook tests/studies tests/house/test_falsifications.py tests/house/test_plain.py

# JupyterLab writes these into a notebook; they say nothing about the chapter.
LAB_KEYS := $(addprefix metadata.language_info.,codemirror_mode file_extension mimetype \
    nbconvert_exporter pygments_lexer version)
CELL_KEYS := $(addprefix cell.metadata.,editable slideshow jupyter)

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

book: $(STAMP)  ## build the book into _build/html, all notebooks executed
	$(BIN)/jupyter-book build . --all -n -W --keep-going

pdf: $(if $(BROWSER),$(SITE_STAMP))  ## print the built book into one file, _build/book.pdf, with Chromium
ifeq ($(BROWSER),)
	@echo "pdf skipped: no Chromium on the path"
else
	@[ -f _build/html/index.html ] || $(MAKE) book
	$(BIN)/python tests/site/print_book.py $(BROWSER)
endif

student: $(STAMP)  ## notebooks without solutions, each ready to run, into _build/student.zip
	$(BIN)/python -m editions.convert student

instructor: $(STAMP)  ## the same with solutions and teaching notes, into _build/instructor.zip
	$(BIN)/python -m editions.convert instructor

slides: $(STAMP)  ## slides of the six lessons, _build/slides/lesson1.html to lesson6.html
	$(BIN)/python -m editions.slides

rehearse: $(STAMP)  ## run the students' notebooks, each in a folder of its own, in the quick profile
	$(BIN)/python -m editions.rehearse

test: $(STAMP)  ## run the unit tests, then every chapter as a test
	@status=0; \
	$(BIN)/pytest tests $(TESTS) || status=1; \
	$(MAKE) --no-print-directory chapters || status=1; \
	exit $$status

chapters: $(STAMP)  ## every chapter as a test, in the quick profile
	ICLBOOK_PROFILE=quick $(BIN)/pytest chapters $(NBVAL)

test-plain: $(STAMP)  ## all that computes, once more with the plainest instruction set
	@status=0; \
	$(PLAIN) $(BIN)/pytest $(COMPUTING) $(TESTS) || status=1; \
	$(PLAIN) $(MAKE) --no-print-directory chapters || status=1; \
	exit $$status

check-site: $(if $(BROWSER),$(SITE_STAMP))  ## look at every built page in Chromium, at three widths
ifeq ($(BROWSER),)
	@echo "check-site skipped: no Chromium on the path"
else
	@[ -f _build/html/index.html ] || $(MAKE) book
	$(BIN)/python tests/site/check_site.py $(BROWSER)
endif

lab: $(LAB_STAMP)  ## open the chapters in JupyterLab
	$(BIN)/jupyter lab chapters

results: $(STAMP)  ## compute every missing stored result (full profile; stop and resume as you like)
	$(BIN)/iclbook run --all --jobs 2

verify: $(STAMP)  ## recompute a part of every stored result and compare
	$(BIN)/iclbook verify

bench: $(STAMP)  ## time the package beside the straightforward way, into results/benchmarks/summary.json
	@for file in $(filter-out %/summary.py,$(wildcard benchmarks/*.py)); do echo "$$file"; $(BIN)/python "$$file" || exit 1; done

mutants: $(MUTANTS_STAMP)  ## small mistakes in the code, one at a time: do the tests notice? (an hour of two cores)
	$(BIN)/python tests/trust/mutants.py

trust: $(STAMP)  ## kill runs and let them go on, verify twice, count: into results/trust/summary.json
	$(BIN)/python tests/trust/summary.py
	$(PLAIN) $(BIN)/python tests/trust/summary.py verify

strip: $(STAMP)  ## remove outputs from the chapters before a commit
	find chapters -name '*.ipynb' -not -path '*/.ipynb_checkpoints/*' -print0 \
	    | xargs -0 $(BIN)/nbstripout --keep-id --extra-keys "$(LAB_KEYS) $(CELL_KEYS)"

clean:  ## remove what was built; .venv and results stay
	rm -rf _build .pytest_cache .hypothesis
	find chapters iclbook studies tests editions _ext -name __pycache__ -prune -exec rm -rf {} +

# The commands in .venv, and the package that they import, belong to the folder it was made in.
in-place:
	@[ ! -s $(STAMP) ] || [ "$$(cat $(STAMP))" = "$$(pwd -P)" ] || \
	    { echo ".venv was made in $$(cat $(STAMP)), and this folder was copied or moved from there: delete .venv and run make again"; exit 1; }

$(STAMP): requirements.txt pyproject.toml | in-place
	@if [ ! -x $(BIN)/python ]; then \
	    new=; [ -e .venv ] || new=.venv; \
	    for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python; do \
	        $$python -c '$(VERSION_OK)' 2>/dev/null && found=$$python && break; \
	    done; \
	    [ -n "$$found" ] || { echo "The book needs Python 3.11, 3.12 or 3.13: install one, or name it: make PYTHON=python3.12"; exit 1; }; \
	    $$found -m venv .venv || { rm -rf $$new; echo "$$found cannot make .venv: on Debian and Ubuntu install python3-venv, then run make again"; exit 1; }; \
	fi; \
	$(BIN)/python -c '$(VERSION_OK)' || { echo ".venv holds another Python than 3.11, 3.12 or 3.13: delete .venv and run make again"; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { echo ".venv is not whole (no pip in it): delete .venv and run make again"; exit 1; }
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements.txt
	@# Without compiled files every kernel starts seconds later; without its font cache so does the first plot.
	@$(BIN)/python -m compileall -q -j 0 .venv/lib >/dev/null 2>&1 || true
	@$(BIN)/python -c 'import matplotlib.pyplot'
	@pwd -P > $@

$(LAB_STAMP): $(STAMP) requirements-lab.txt
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-lab.txt
	@touch $@

$(MUTANTS_STAMP): $(STAMP) requirements-mutants.txt
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-mutants.txt
	@touch $@

$(SITE_STAMP): $(STAMP) requirements-site.txt
	$(BIN)/python -m pip install --disable-pip-version-check -r requirements-site.txt
	@touch $@
