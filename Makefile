# make help lists everything. Every recipe runs with the virtual environment in build/venv.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Of `make drill` primary_crash, of `make drills` all.
SCENARIO ?=
LAB_STATE_DIR ?= build/lab$(if $(LAB_NAME),-$(LAB_NAME))
export LAB_STATE_DIR
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg
export ANSIBLE_INVENTORY := $(abspath $(LAB_STATE_DIR))/inventory/hosts.yml
export ANSIBLE_COLLECTIONS_PATH := $(CURDIR)/build/collections
export PYTHONPATH := $(CURDIR)
export PATH := $(CURDIR)/build/venv/bin:$(PATH)

# Drills without a playbook: python -m drills NAME. Those of the cluster need a deployed one.
OWN_DRILLS := two_phase_commit rewind rewind_refused clone_rejoin reconcile
CLUSTER_DRILLS := $(filter-out two_phase_commit,$(OWN_DRILLS))

VENV := build/venv/bin
DRILL_ARGS = $(if $(SEED),--seed $(SEED)) $(if $(DRIVER),--driver $(DRIVER))
LAB := $(VENV)/python -m lab
PYTEST := $(VENV)/python -m pytest
PLAYBOOK := $(VENV)/ansible-playbook

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo "Variables: SCENARIO, GATE, REPEAT, ROUNDS, DRIVER, SEED, CASE, COMMITS, DELAY, MUTANT, MINUTES, RUNS, PYTEST_ARGS, LAB_NAME, LAB_DB_HOSTS, LAB_ZONES, LAB_SUBNET, LAB_BASE_IMAGE, LAB_MIRROR (lab/README.md)"

.PHONY: venv
venv: ## virtual environment with the pinned requirements
	@lab/make-venv
	@$(LAB) collections >/dev/null

.PHONY: engine
engine: venv ## make sure that a Docker engine answers (installs and starts one if none does)
	@$(LAB) engine

.PHONY: lab-up
lab-up: venv ## bring the lab up: 3 database hosts, 1 control host, 1 application host
	@$(LAB) up

.PHONY: lab-down
lab-down: venv ## remove hosts, network and data; stop the engine if a lab started it
	@$(LAB) down

.PHONY: lab-purge
lab-purge: venv ## lab-down, and remove the images
	@$(LAB) purge

.PHONY: lab-status
lab-status: venv ## what runs
	@$(LAB) status

.PHONY: demo
demo: lab-up ## replication in the lab, a crash of the primary, and the verdict
	$(PLAYBOOK) lossless.mysql_ha.site
	$(PLAYBOOK) lossless.mysql_ha.failover_drill -e drill_scenario=primary_crash
	@$(LAB) verdict

.PHONY: drill
drill: $(if $(filter $(CLUSTER_DRILLS),$(SCENARIO)),deployed,lab-up) ## one drill: SCENARIO=primary_crash (README.md), two_phase_commit, rewind, rewind_refused, clone_rejoin, reconcile
	$(if $(filter $(OWN_DRILLS),$(SCENARIO)),$(VENV)/python -m drills $(SCENARIO) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(SEED),--seed $(SEED)) $(if $(ROUND_SEED),--round-seed $(ROUND_SEED)) $(if $(MUTANT),--mutant $(MUTANT)) \
	  $(if $(COMMITS),--commits $(COMMITS)) $(if $(DELAY),--delay $(DELAY)) $(if $(MINUTES),--minutes $(MINUTES)) $(CASE),\
	  $(PLAYBOOK) lossless.mysql_ha.failover_drill -e drill_scenario=$(or $(SCENARIO),primary_crash))
	@$(LAB) verdict

.PHONY: drills
drills: deployed ## the fault matrix: GATE=1, REPEAT=5, SCENARIO=name, DRIVER=manager|procedure, SEED=, RUN_SEED=
	$(VENV)/python -m drills matrix $(SCENARIO) $(if $(GATE),--gate) $(if $(REPEAT),--repeat $(REPEAT)) \
	  $(if $(RUN_SEED),--run-seed $(RUN_SEED)) $(DRILL_ARGS)

.PHONY: soak
soak: deployed ## faults at random: MINUTES=30, SEED=, ROUND_SEED=, DRIVER=
	$(VENV)/python -m drills soak $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ROUND_SEED),--round-seed $(ROUND_SEED)) \
	  $(DRILL_ARGS)

.PHONY: drills-ansible
drills-ansible: lab-up ## every drill of the playbook failover_drill, and one that must fail
	$(PYTEST) tests/playbook_drills $(PYTEST_ARGS)

.PHONY: deployed
deployed: lab-up
	@$(LAB) exec db1 -- test -e /etc/lossless-mysql-ha/keeper.json >/dev/null 2>&1 || $(PLAYBOOK) lossless.mysql_ha.site

.PHONY: static
static: venv ## linters, types, documentation, packaging
	$(PYTEST) tests/gates $(PYTEST_ARGS)

.PHONY: unit
unit: venv ## tests that need nothing but Python
	$(PYTEST) tests/unit tests/lab -m "not lab and not long" $(PYTEST_ARGS)

.PHONY: integration
integration: lab-up ## tests on the lab's servers
	$(PYTEST) tests/integration $(PYTEST_ARGS)

.PHONY: molecule
molecule: lab-up ## the roles, by Molecule, on the lab's hosts
	$(VENV)/molecule test --all

.PHONY: managed
managed: deployed
	@$(LAB) exec control1 -- systemctl is-active lossless-mysql-ha-manager >/dev/null 2>&1 || $(PLAYBOOK) lossless.mysql_ha.manager

.PHONY: bench
bench: managed ## benchmarks (benchmarks/README.md)
	$(VENV)/python -m benchmarks $(BENCH_ARGS)

.PHONY: bench-manager
bench-manager: managed ## the manager's write outages, in turn with Group Replication's: RUNS=20
	$(VENV)/python -m benchmarks group_replication $(if $(RUNS),--runs $(RUNS))

.PHONY: bench-load
bench-load: managed ## full load on all cores without a false failover: MINUTES=10
	$(VENV)/python -m benchmarks.false_failover $(if $(MINUTES),--minutes $(MINUTES))

.PHONY: test
test: lab-up ## all but the long suites (test-long, drills, molecule, bench); ends with pytest's summary
	$(PYTEST) -m "not long" tests/gates tests/unit tests/lab tests/integration tests/system $(PYTEST_ARGS)

.PHONY: test-long
test-long: deployed ## what takes minutes each: clones that break off, and the drills of the way back with their mutants
	$(PYTEST) -m long tests/unit tests/integration tests/system $(PYTEST_ARGS)
