# The commands to use this project and to work on it; `make help` lists them.
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
# How many times as much `make prices` sends as CI does.
LOAD ?= 10
# How long `make soak` takes, about.
MINUTES ?= 10
# More for the program that a target runs: make test ARGS='-k nginx'
ARGS ?=
# Where `make install` puts the gateway, its settings and its systemd units.
PREFIX ?= /opt/sse-gateway
CONFIG_DIR ?= /etc/sse-gateway
UNIT_DIR ?= /etc/systemd/system
# A directory that `make wheels` has filled: `make install` then needs no network.
OFFLINE ?=
# Where people on call read OPERATIONS.md (https://...): alerts link to it. Without it, no links.
RUNBOOK_URL ?=

# A hint that a newer pip exists does not help someone who wants to see the gateway.
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help run cluster test test-oldest test-python lint format bundle delivery cluster-tests on-cluster browsers frames npm installs fuzz prices clients variants soak churn bench loadtest pictures constraints build wheels install nginx-site uninstall clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.embedded ## Start everything for a first look: Redis, gateway, simulated workflows, a page
	@$(BIN)/sse-gateway dev $(ARGS)

cluster: $(VENV)/.embedded ## Start a Redis Cluster with two gateways behind nginx on this machine, to try it
	@PATH="$(abspath $(BIN)):$$PATH" exec bash config/cluster.sh

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

format: $(VENV)/.npm ## Format the code
	@$(BIN)/ruff check --fix-only .
	@$(BIN)/ruff format .
	@$(BIN)/node $(PRETTIER) --write --log-level=warn $(FORMATTED)

bundle: $(VENV)/.npm ## Build the bundles of client and page again, after a change of their modules
	@$(BIN)/python -m tests.npm.bundle

MODULES := $(VENV)/npm/node_modules
PRETTIER := $(MODULES)/prettier/bin/prettier.cjs
FORMATTED := '{gateway,tests}/**/*.{js,mjs,jsx,ts,mts,tsx,css,html}'

delivery: $(VENV)/.dev ## Break everything while events flow, RUNS times a scenario, and count what is lost
	@MODEL_EXAMPLES=100 $(BIN)/python -m pytest tests/delivery -m '' --ignore=tests/delivery/test_cluster.py \
	--delivery-runs=$(RUNS) $(ARGS)

cluster-tests: $(VENV)/.dev ## Lose nodes of a Redis Cluster, and fail over RUNS times, while events flow
	@$(BIN)/python -m pytest tests/cluster tests/delivery/test_cluster.py -m '' --delivery-runs=$(RUNS) $(ARGS)

on-cluster: $(VENV)/.dev ## Run the ordinary tests of gateway and publishers on a Redis Cluster
	@$(BIN)/python -m pytest $(addprefix tests/,admin http lists publish publisher sets) --on-cluster \
	-m 'not long and not one_server' $(ARGS)

browsers: $(VENV)/.npm ## Follow executions in Chromium, Firefox and WebKit through restarts, reloads and outages
	@$(BIN)/python -m pytest tests/browser/engines tests/browser/page -m '' \
	--ignore=tests/browser/page/test_speed.py $(ARGS)

frames: $(VENV)/.npm ## Measure the longest frame of the page, with a run of 3,000 steps
	@$(BIN)/python -m pytest tests/browser/page/test_speed.py -m '' $(ARGS)

npm: $(VENV)/.npm ## Install the browser client into projects of Vite, webpack, esbuild, Next and Jest
	@$(BIN)/python -m pytest tests/npm -m '' $(ARGS)

installs: $(VENV)/.dev ## Test `make install` in a temporary directory, also with a file whose hash is wrong
	@$(BIN)/python -m pytest tests/packaging/test_install.py -m '' $(ARGS)

fuzz: $(VENV)/.dev ## Test each parser of untrusted input with EXAMPLES random inputs
	@FUZZ_EXAMPLES=$(EXAMPLES) \
	$(BIN)/python -m pytest -m fuzz --hypothesis-profile=fuzz --timeout=3600 $(ARGS)

prices: $(VENV)/.dev ## Attack a gateway in each way of SECURITY.md, LOAD times, and show what it costs
	@PRICES_LOAD=$(LOAD) \
	$(BIN)/python -m pytest tests/prices/test_prices.py -m '' --capture=no --timeout=3600 $(ARGS)

clients: $(VENV)/.dev ## Build and test the Go, Rust and Java programs whose compiler is installed
	@$(BIN)/python -m tests.clients.compiled.build
	@BUILD_CLIENTS=yes $(BIN)/python -m pytest tests/clients/test_compiled.py tests/languages $(ARGS)

variants: $(VENV)/.dev ## Try the servers of this machine, or those that SERVERS names, one after the other
	@$(BIN)/python -m tests.variants

soak: $(VENV)/.dev ## Run tabs, failovers and restarts for MINUTES: nothing may be lost or leak
	@$(BIN)/python -m tests.soak --minutes $(MINUTES) $(ARGS)

churn: $(VENV)/.dev ## Compare 200 lists at two gateways with a model, while 10,000 executions come and go
	@$(BIN)/python -m tests.churn $(ARGS)

bench: $(VENV)/.dev ## Measure what the gateway costs, and compare it with its targets
	@$(BIN)/python -m tests.bench $(ARGS)

loadtest: $(VENV)/.embedded ## Follow executions from 1,000 tabs and count what is lost
	@$(BIN)/sse-gateway loadtest --tabs 1000 $(ARGS)

pictures: $(VENV)/.dev ## Draw the pictures of the documents again: page, terminal, load test
	@$(BIN)/python -m tests.pictures

constraints: $(VENV)/.made ## Update the tested versions, and the hashes of what `make install` installs
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

build: $(VENV)/.made ## Build the wheel, and the browser client's archive for npm, into dist/
	@rm -rf build/lib build/bdist.*
	@$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	@$(BIN)/python -c 'from gateway import client; client.write_archive("dist")'

wheels: $(VENV)/.made ## Fetch all that `make install` needs, for a machine without a network
	@rm -rf dist/wheels
	@$(BIN)/python -m pip download --quiet --only-binary :all: --require-hashes \
	--requirement $(REQUIREMENTS) --dest dist/wheels
	@echo 'Copy this checkout, with dist/wheels, to a machine with the same Python version and kind of'
	@echo 'processor. There: make install OFFLINE=dist/wheels'

install: ## As root: install the gateway and its units, or upgrade them; settings stay as they are
	$(if $(trouble),$(error $(trouble)))
	$(if $(in_the_way),$(error $(in_the_way)))
	@echo 'Installing into $(prefix) ...'
	@$(prefix)/bin/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(prefix)
	@rm -rf build/lib build/bdist.*
	@$(prefix)/bin/python -m pip install --quiet --require-hashes --requirement $(REQUIREMENTS) $(from)
	@$(prefix)/bin/python -m pip install --quiet --no-deps --no-build-isolation $(from) .
	@install -d -m 755 $(CONFIG_DIR) $(UNIT_DIR)
	@install -d -m 700 $(CONFIG_DIR)/credentials
	@install -m 644 config/production.toml $(CONFIG_DIR)/gateway.toml.sample
	@install -m 644 gateway/OPERATIONS.md $(CONFIG_DIR)
	@$(with_runbook) config/alerts.yml > $(CONFIG_DIR)/alerts.yml
	@for unit in $(UNITS); do $(placed) systemd/$$unit > $(UNIT_DIR)/$$unit || exit; done
	@$(prefix)/bin/sse-gateway --version
	@if [ -e $(CONFIG_DIR)/gateway.toml ]; then echo '$(then_restart)'; else echo '$(then_configure)'; fi

# From 1.25.1 on nginx warns of "listen ... http2"; older ones do not know "http2 on;".
NGINX_VERSION ?= $(shell PATH="$$PATH:/usr/sbin" nginx -v 2>&1 | sed -n 's|.*nginx/\([0-9.]*\).*|\1|p')

nginx-site: ## Print the nginx site, in the form that the nginx of this machine takes
	@if printf '%s\n' 1.25.1 '$(NGINX_VERSION)' | sort --version-sort --check=quiet; then \
	sed 's/^\( *listen .*ssl\) http2;/\1;/; s/^\( *\)# Of one connection\./\1http2 on;\n&/' nginx/sse-gateway.conf; \
	else cat nginx/sse-gateway.conf; fi

uninstall: ## As root: remove what `make install` has made; settings and credentials stay
	$(if $(wildcard $(UNIT_DIR)/*.wants/sse-gateway*),$(error $(enabled)))
	$(if $(wildcard $(prefix)),$(if $(wildcard $(prefix)/bin/sse-gateway),,$(error $(foreign))))
	@rm -rf $(prefix) $(addprefix $(UNIT_DIR)/,$(UNITS)) $(addprefix $(CONFIG_DIR)/,gateway.toml.sample OPERATIONS.md alerts.yml)
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
placed = sed 's\#/opt/sse-gateway\#$(prefix)\#g; s\#/etc/sse-gateway\#$(abspath $(CONFIG_DIR))\#g$(if $(notifies),; $(reloads))'
# systemd 253 and later send SIGHUP themselves, and wait until the gateway has reloaded.
notifies = $(shell systemctl --version 2>/dev/null | awk 'NR == 1 && $$2 >= 253')
reloads = s/^Type=notify$$/Type=notify-reload/; /^ExecReload=.bin.kill/d

# Where pip finds what it installs.
from = $(if $(OFFLINE),--no-index --find-links $(OFFLINE))
# The section of OPERATIONS.md about each alert has its name.
with_runbook = awk -v url='$(RUNBOOK_URL)' '/- alert:/ {name = tolower($$3)} {print} \
	url && /annotations:/ {print "          runbook_url: " url "\#" name}'

# What says no to `install` and `uninstall`. (`error` adds the full stop.)
in_the_way = $(if $(wildcard $(prefix)/pyvenv.cfg),,$(if $(wildcard $(prefix)/*),$(foreign)))
foreign = $(prefix) holds something else, and is left alone: name the directory, make $(MAKECMDGOALS) PREFIX=/opt/sse-gateway
enabled = The gateway still starts with the machine: systemctl disable --now $(notdir $(wildcard $(UNIT_DIR)/*.wants/sse-gateway*)), and call make uninstall again

then_restart = Settings are as they were. Next: systemctl daemon-reload && systemctl restart sse-gateway
then_configure = Next: settings and a secret, as in systemd/README.md, "Configure it".

# A virtual environment that works is kept; anything else at its path is replaced.
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
