# `make` lists the targets. Needed beforehand: Python 3.11 or newer, make, a C++ compiler.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
GENEBERT_REALDATA ?= $(CURDIR)/../shared/realdata
CORES ?= all
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export GENEBERT_REALDATA
export OMP_NUM_THREADS ?= 1

.PHONY: help setup demo again test tutorial test-slurm test-controls test-realdata lint docs report clean
.DEFAULT_GOAL := help

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 24

setup: $(VENV)/.ready ## install everything into .venv (and bedtools)

$(VENV)/.ready: requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "error: $(PYTHON) is older than 3.11; say make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet -r requirements.lock
	$(VENV)/bin/python -m pip install --quiet --no-deps igv-notebook==0.6.2  # igv.js, which a test opens tracks with
	@command -v bedtools >/dev/null || { \
	  if command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	    echo "installing bedtools"; \
	    { apt-get install -qq -y bedtools || { apt-get update -qq && apt-get install -qq -y bedtools; }; } >/dev/null 2>&1; fi; \
	  command -v bedtools >/dev/null \
	  || { echo "error: the program bedtools is missing; install it with 'apt install bedtools', 'brew install bedtools' or 'conda install -c bioconda bedtools', then run make again"; exit 1; }; }
	@echo "$(CURDIR)/workflow/scripts" > "$$($(VENV)/bin/python -c 'import site; print(site.getsitepackages()[0])')/genebert.pth"
	@touch $@

demo: setup ## run the whole pipeline on the simulated genome (5 to 13 minutes on two cores)
	snakemake --cores $(CORES)
	@echo "tables: results/{promoter,tfbs,disease,splicing,ablation}.tsv; report: make report"

again: setup ## check that a second run repeats nothing
	bash .ci/again.sh

test: setup ## unit, property, bad-input and workflow tests
	python -m pytest -n 2 --dist loadfile -m "not slurm and not control and not tutorial" tests/unit tests/property tests/workflow tests/slurm

tutorial: setup ## type docs/tutorial.md word by word in a fresh copy, and check what comes out (about 2 minutes)
	python -m pytest tests/workflow/test_tutorial.py

test-slurm: setup ## the pipeline on a real SLURM that is installed and started for it (root, Debian; about 15 minutes)
	python -m pytest -m slurm tests/slurm

test-controls: setup ## negative controls: two simulated genomes that hold nothing to be found
	python -m pytest -m control tests/workflow/test_controls.py

test-realdata: setup ## the whole pipeline on real human data (GENEBERT_REALDATA)
	python -m pytest -n 2 --dist loadfile tests/realdata

lint: setup ## style of Python and Snakemake files, types, lint of the workflow
	ruff check . && ruff format --check .
	mypy
	snakefmt --check Snakefile rules workflow/Snakefile
	snakemake --lint

$(VENV)/.docs: docs/requirements.txt $(VENV)/.ready
	$(VENV)/bin/python -m pip install --quiet -r docs/requirements.txt
	@touch $@

docs: $(VENV)/.docs ## the documentation as a web site in site/ (warnings and misspellings are errors)
	codespell
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict  # --quiet would hide warnings from --strict
	@echo "documentation: site/index.html"

report: setup ## report.html of what is in results/
	snakemake --cores 1 --report report.html

clean: ## delete results, logs, the report and the site; keep .venv and downloads
	rm -rf results logs benchmarks report.html site .snakemake
