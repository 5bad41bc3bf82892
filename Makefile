# Two commands do everything: `make demo` and `make test`. Each installs what it needs into .venv.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
INSTALL := $(RUN) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
DEMO_SEED ?= 1
TRIALS ?= 20
SHELL_FILES = { git ls-files '*.sh' '*.sbatch'; git grep -lE '^\#!.*[/ ](ba)?sh$$'; } | sort -u
FIND_BROWSER := { for name in chromium chromium-browser google-chrome chrome; do \
  command -v $$name > /dev/null && break; done; }
SBIN := /usr/sbin:/sbin
FIND_SLURM = (PATH="$$PATH:$(SBIN)"; for name in munged slurmctld slurmd sbatch ip; do \
  command -v $$name > /dev/null || exit 1; done)
FIND_NAMESPACES = (PATH="$$PATH:$(SBIN)"; ip netns add tdn-$$$$ && ip netns delete tdn-$$$$) 2> /dev/null
APT_INSTALL = { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get update -qq && \
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(1) > /dev/null; }

.PHONY: help demo pictures test trials browser slurm lint clean

help:
	@echo "make demo    install, make video data, train TDN and a frame-only network, compare them"
	@echo "make pictures  make demo, and from it and the networks the pictures in docs/pictures"
	@echo "make test    install, check style and types, run the tests"
	@echo "make trials  kill $(TRIALS) trainings at random moments; each must come to the same end"
	@echo "make lint    check style and types only, of scripts and the container, too"
	@echo "make clean   remove .venv, runs and caches"

demo: $(VENV)/installed
	$(RUN) -m tdn demo --config configs/demo.yaml --output runs/demo --seed $(DEMO_SEED)

pictures: demo
	$(RUN) docs/pictures.py

# What needs a browser or Slurm fails without, rather than being skipped, in CI or where it is found;
# what needs hosts with a network of their own, where one has the rights to make them.
test: $(VENV)/installed-for-tests lint browser slurm
	@if [ -n "$$CI" ] || $(FIND_BROWSER); then export TDN_NEEDS_BROWSER=1; fi; \
	if [ -n "$$CI" ] || $(FIND_SLURM); then export TDN_NEEDS_SLURM=1; fi; \
	if $(FIND_NAMESPACES); then export TDN_NEEDS_HOSTS=1; fi; \
	$(RUN) -m pytest -n 2 --dist worksteal

trials: $(VENV)/installed-for-tests
	TDN_KILL_TRIALS=$(TRIALS) $(RUN) -m pytest -v tests/tdn/training/test_kill_trials.py

# Both are installed where that is possible: as root, by apt.

# Reports are looked at in a real one.
browser:
	@$(FIND_BROWSER) || $(call APT_INSTALL,chromium) || \
	echo "no browser could be installed: without one, tests of reports are skipped"

# Jobs run on a real one, of two nodes on this machine; ip makes hosts with a network of their own.
slurm:
	@$(FIND_SLURM) || $(call APT_INSTALL,slurmctld slurmd slurm-client munge iproute2) || \
	echo "no Slurm could be installed: without one, tests of its jobs are skipped"

lint: $(VENV)/installed-for-tests
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(SHELL_FILES) | xargs $(VENV)/bin/shellcheck
	$(VENV)/bin/hadolint launch/Dockerfile

clean:
	rm -rf $(VENV) runs build .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

$(VENV)/installed: setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "tdn needs Python 3.10 or newer: make PYTHON=/path/to/python3.12"; exit 1; }
	@echo "Installing into $(VENV): several minutes the first time"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) --editable .
	@touch $@

$(VENV)/installed-for-tests: $(VENV)/installed
	$(INSTALL) --editable '.[test]'
	@touch $@
