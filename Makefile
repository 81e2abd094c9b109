# The commands of whoever uses or works on this project; `make help` lists them.
# Everything is installed into .venv, by package names, in the versions of config/constraints.txt.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONSTRAINTS := config/constraints.txt
# What `make install` installs, with the hash of each file that it may be.
REQUIREMENTS := config/requirements.txt
# Seeds of each scenario of `make delivery`.
RUNS ?= 10
# Inputs that `make fuzz` draws for each test that reads what strangers send.
EXAMPLES ?= 5000
# How many times as much `make prices` sends as `make test` does.
LOAD ?= 10
# How long `make soak` takes, about.
MINUTES ?= 10
# More for the program that a target runs: make test ARGS='-k nginx'
ARGS ?=
# Where `make install` puts the gateway, its settings and its systemd units.
PREFIX ?= /opt/sse-gateway
CONFIG_DIR ?= /etc/sse-gateway
UNIT_DIR ?= /etc/systemd/system

# That a newer pip exists is of no use to whoever wants to see the gateway.
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run test test-oldest test-python lint format delivery fuzz prices variants soak bench loadtest constraints build install uninstall clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.embedded ## Start everything for a first look: Redis, gateway, simulated workflows, a page
	@$(BIN)/sse-gateway dev $(ARGS)

# Most tests wait more than they compute, so four at a time fill two cores. A worker that has nothing
# left takes half of what another one has.
SIDE_BY_SIDE := --numprocesses=4 --dist=worksteal

test: $(VENV)/.npm ## Run all tests and report the coverage of gateway/
	@$(BIN)/python -m pytest $(SIDE_BY_SIDE) --cov --cov-report=term $(ARGS)

# A floor in setup.cfg that is too low shows here.
test-oldest: $(VENV)/.dev ## Run the unit tests with the oldest versions that setup.cfg allows
	@$(call test_in,oldest,$(BIN)/python,--resolution lowest-direct)

test-python: $(VENV)/.dev ## Run the unit tests on another Python: make test-python PYTHON=python3.13
	@$(call test_in,python,$(PYTHON),--constraint $(CONSTRAINTS))

# Runs the unit tests in build/$(1), an environment of the Python $(2) with the versions of $(3).
define test_in
rm -rf build/$(1) && $(BIN)/uv venv --quiet --python $(2) build/$(1)
@$(BIN)/uv pip install --quiet --python build/$(1)/bin/python $(3) --editable '.[dev]'
@build/$(1)/bin/python -m pytest $(SIDE_BY_SIDE) $(UNIT_TESTS) $(ARGS)
endef

# What leans most on Python and on the dependencies; none needs a browser or another server than Redis.
UNIT_TESTS := $(addprefix tests/,access admin base bus contract events fanout publisher \
	cli/test_commands.py http/test_cors.py http/test_request_limits.py http/test_pipelining.py \
	http/test_polling.py http/test_replay.py process/test_serve.py)

lint: $(VENV)/.npm ## Check the format, the code, the types and which package imports which
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/node $(PRETTIER) --check --log-level=warn $(FORMATTED)
	@cp tests/npm/eslint.config.mjs $(VENV)/npm
	@$(BIN)/node $(MODULES)/eslint/bin/eslint.js --config $(VENV)/npm/eslint.config.mjs \
	--max-warnings=0 gateway tests
	@$(BIN)/node $(MODULES)/typescript/bin/tsc --project tests/npm

format: $(VENV)/.npm ## Put the code into its format
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .
	@$(BIN)/node $(PRETTIER) --write --log-level=warn $(FORMATTED)

MODULES := $(VENV)/npm/node_modules
PRETTIER := $(MODULES)/prettier/bin/prettier.cjs
FORMATTED := '{gateway,tests}/**/*.{js,mjs,jsx,ts,mts,tsx,css,html}'

delivery: $(VENV)/.dev ## Break everything while events flow, RUNS times a scenario, and count what is lost
	@$(BIN)/python -m pytest tests/delivery --delivery-runs=$(RUNS) $(ARGS)

fuzz: $(VENV)/.dev ## Feed every parser of what strangers send with EXAMPLES inputs each
	@FUZZ_EXAMPLES=$(EXAMPLES) \
	$(BIN)/python -m pytest -m fuzz --hypothesis-profile=fuzz --timeout=3600 $(ARGS)

prices: $(VENV)/.dev ## Attack a gateway with LOAD times as much as in `make test`, and show what it costs
	@PRICES_LOAD=$(LOAD) \
	$(BIN)/python -m pytest tests/prices/test_prices.py --capture=no --timeout=3600 $(ARGS)

variants: $(VENV)/.dev ## Try the servers of this machine, or those that SERVERS names, one after the other
	@$(BIN)/python -m tests.variants

soak: $(VENV)/.dev ## Let tabs, failovers and restarts go on for MINUTES, and see that all comes back
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

bench: $(VENV)/.dev ## Measure what the gateway costs, next to a floor and to its targets
	@$(BIN)/python -m tests.bench $(ARGS)

loadtest: $(VENV)/.embedded ## Follow executions from 1,000 tabs and count what is lost
	@$(BIN)/sse-gateway loadtest --tabs 1000 $(ARGS)

constraints: $(VENV)/.made ## Renew the tested versions, and the hashes of those that are installed
	@rm -rf build/constraints && $(BIN)/python -m venv build/constraints
	@build/constraints/bin/python -m pip install --quiet '.[dev]'
	@{ echo '# The versions that were tested; renewed by `make constraints`.'; \
	build/constraints/bin/python -m pip freeze --exclude sse-gateway; } > build/constraints.txt
	@mv build/constraints.txt $(CONSTRAINTS)
	@$(call hashed,build/constraints/bin)

# For every Python and platform. What builds the package is installed by hash too.
define hashed
$(1)/python -c 'import tomllib; made_by = tomllib.load(open("pyproject.toml", "rb"))["build-system"]; \
print(*made_by["requires"], sep="\n")' > build/builds.in && \
$(1)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command 'make constraints' --constraint $(CONSTRAINTS) \
	--output-file build/requirements.txt setup.cfg build/builds.in && \
mv build/requirements.txt $(REQUIREMENTS)
endef

build: $(VENV)/.made ## Build the wheel into dist/
	@rm -rf build/lib build/bdist.*
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .

install: ## As root: install the gateway and its units, or upgrade them; settings stay as they are
	$(if $(trouble),$(error $(trouble)))
	$(if $(in_the_way),$(error $(in_the_way)))
	@echo 'Installing into $(prefix) ...'
	@$(prefix)/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(prefix)
	@rm -rf build/lib build/bdist.*
	@$(prefix)/bin/python -m pip install --quiet --require-hashes --requirement $(REQUIREMENTS)
	@$(prefix)/bin/python -m pip install --quiet --no-deps --no-build-isolation .
	@install -d -m 755 $(CONFIG_DIR) $(UNIT_DIR)
	@install -d -m 700 $(CONFIG_DIR)/credentials
	@install -m 644 config/production.toml $(CONFIG_DIR)/gateway.toml.sample
	@for unit in $(UNITS); do $(placed) systemd/$$unit > $(UNIT_DIR)/$$unit || exit; done
	@$(prefix)/bin/sse-gateway --version
	@if [ -e $(CONFIG_DIR)/gateway.toml ]; then echo '$(then_restart)'; else echo '$(then_configure)'; fi

uninstall: ## As root: remove what `make install` has made; settings and credentials stay
	$(if $(wildcard $(UNIT_DIR)/*.wants/sse-gateway*),$(error $(enabled)))
	$(if $(wildcard $(prefix)),$(if $(wildcard $(prefix)/bin/sse-gateway),,$(error $(foreign))))
	@rm -rf $(prefix) $(addprefix $(UNIT_DIR)/,$(UNITS)) $(CONFIG_DIR)/gateway.toml.sample
	@echo 'Removed $(prefix) and the units; $(CONFIG_DIR) is kept. Next: systemctl daemon-reload'

clean: ## Remove all that was built or installed, .venv too
	@rm -rf $(VENV) build dist *.egg-info .coverage* .*_cache .hypothesis artefacts
	@find . -name __pycache__ -prune -exec rm -rf {} +

# A stamp is touched only after its install went through, so one that failed is done again.
$(VENV)/.embedded: $(VENV)/.made setup.cfg pyproject.toml $(CONSTRAINTS)
	$(call install,$(TRIAL))
	@touch $@

$(VENV)/.dev: $(VENV)/.made setup.cfg pyproject.toml $(CONSTRAINTS)
	$(call install,.[dev])
	@touch $@ $(VENV)/.embedded

# Node's own npm, which has come with what the tests need of Python.
$(VENV)/.npm: $(VENV)/.dev tests/npm/package-lock.json
	@mkdir -p $(VENV)/npm && cp tests/npm/package*.json $(VENV)/npm
	@PATH="$(abspath $(BIN)):$$PATH" && cd $(VENV)/npm && \
	npm ci --loglevel=error --no-audit --no-fund --ignore-scripts >/dev/null
	@touch $@

# A variable, since a comma ends an argument of `call`.
TRIAL := .[embedded,loadtest]

# Without warnings: pip 26.3 passes on what the build has to say of any editable installation.
define install
@echo 'Installing into $(VENV) (this time only) ...'
@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --constraint $(CONSTRAINTS) --editable '$(1)'
endef

prefix = $(abspath $(PREFIX))
UNITS := $(notdir $(wildcard systemd/sse-gateway*.*))
# Writes a unit with the paths of this installation.
placed = sed 's\#/opt/sse-gateway\#$(prefix)\#g; s\#/etc/sse-gateway\#$(abspath $(CONFIG_DIR))\#g'

# What says no to `install` and `uninstall`. (`error` adds the full stop.)
in_the_way = $(if $(wildcard $(prefix)/pyvenv.cfg),,$(if $(wildcard $(prefix)/*),$(foreign)))
foreign = $(prefix) holds something else, and is left alone: name the directory, make $(MAKECMDGOALS) PREFIX=/opt/sse-gateway
enabled = The gateway still starts with the machine: systemctl disable --now $(notdir $(wildcard $(UNIT_DIR)/*.wants/sse-gateway*)), and call make uninstall again

then_restart = Settings are as they were. Next: systemctl daemon-reload && systemctl restart sse-gateway
then_configure = Next: settings and a secret, as in systemd/README.md, "Configure it".

# A virtual environment that works is kept, whoever made it; anything else there is made anew.
$(VENV)/.made:
	$(if $(works),,$(if $(trouble),$(error $(trouble))))
	@$(if $(works),,$(PYTHON) -m venv --clear $(VENV))
	@touch $@

works = $(shell $(BIN)/python -c 'import sys, pip; print("yes" * (sys.version_info >= (3, 11)))' 2>/dev/null)

# What keeps $(PYTHON) from making the environment, in one sentence with the remedy. Any Python,
# however old, must understand the question. (`error` adds the full stop.)
trouble = $(shell $(PYTHON) -c '$(question)' 2>/dev/null || echo '$(no_python)')
question = import sys; v = sys.version_info[:2]; said = sys.stdout.write; \
	v < (3, 11) and sys.exit(said("Python 3.11 or newer is needed; this one is %d.%d: $(newer)" % v) and 0); \
	import importlib.util as find; \
	all(map(find.find_spec, ("venv", "ensurepip"))) or said("$(no_venv)")
newer = install python3.11 and call make PYTHON=python3.11 $(MAKECMDGOALS)
no_python = Python 3.11 or newer is needed, and $(PYTHON) cannot be started: $(newer)
no_venv = The venv module of this Python is missing: install it (on Debian and Ubuntu: apt-get install python3-venv) and call make $(MAKECMDGOALS) again
