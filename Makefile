# `make help` lists what there is. Everything works on a bare Debian or Ubuntu host, as root; where Docker is, nothing is installed.
SHELL := /bin/bash
.DEFAULT_GOAL := help
WORKERS ?= 5
N ?= 8
MIN ?= 1
MAX ?= 20
ROUNDS ?= 5
SCALE ?= 1
MINUTES ?= 10
SEED ?= $(shell date +%s)
# Only from the command line: tcsh and others export a HOST of their own, which is this machine.
HOST_GIVEN = $(if $(findstring command,$(origin HOST)),$(HOST))
VENV := .venv
RUN := $(VENV)/bin

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: up
up: engine host ## Build and start the cluster, WORKERS=5, run the job and show its results; ENGINE=nats, nats-single or embedded
	docker compose build --quiet
	@docker compose rm --force job >/dev/null 2>&1 # else its former results would show again
	docker compose up --detach --wait --scale worker=$(WORKERS) || { docker compose logs --no-log-prefix job; exit 1; }
	@docker compose logs --no-log-prefix job
	@echo "The cluster is healthy. Next: 'make status', 'make scale N=8', 'make job', 'make down'; your tasks go into app/tasks.py."

.PHONY: watch
watch: host ## Start the cluster, WORKERS=5, and bring each edit of app/ into the workers, until Ctrl-C
	WORKERS=$(WORKERS) docker compose watch

.PHONY: job
job: ## Run app/job.py on the running cluster
	docker compose run --rm --no-deps --build job

.PHONY: down
down: ## Stop the cluster, and Prometheus; tasks, results and key stay on their volumes
	docker compose down --remove-orphans

.PHONY: logs
logs: ## Follow the logs of master and workers
	docker compose logs --follow

.PHONY: scale
scale: ## Run N=8 workers
	docker compose up --detach --no-recreate --wait --scale worker=$(N) worker

.PHONY: autoscale
autoscale: .venv-scale/.installed ## Run MIN=1 to MAX=20 workers, as many as the load wants, until Ctrl-C (docs/scaling.md)
	@.venv-scale/bin/python -m taskyard autoscale --min $(MIN) --max $(MAX)

.PHONY: status
status: ## Count tasks by state, list the workers
	@docker compose run --rm --quiet-pull cli status
	@docker compose run --rm --quiet-pull cli workers

.PHONY: verify
verify: ## Check that each submitted task has exactly one end
	@docker compose run --rm --quiet-pull cli verify

.PHONY: cli
cli: ## Any command of the command line: make cli C="tasks --state failed"
	@docker compose run --rm --quiet-pull cli $(C)

.PHONY: dashboard
dashboard: ## Print the links that sign a browser in to the dashboard
	@docker compose exec -T dashboard python -m dashboard link

.PHONY: monitoring
monitoring: host ## Start Prometheus beside the running cluster, at http://127.0.0.1:9090
	@deploy/choose-images.sh monitoring
	docker compose -f compose.yaml -f deploy/monitoring/compose.yaml up --detach --wait --no-deps prometheus

.PHONY: connect
connect: ## Print what programs on this host need to join the queue, once it is published (see README)
	@deploy/connect.sh

.PHONY: keys
keys: ## Make a key for each role, for compose.keys.yaml (docs/security.md)
	@deploy/keys.sh make

.PHONY: rotate-key
rotate-key: ## Make a new key beside the one in use: of the cluster, or ROLE=worker, client, admin
	@$(if $(ROLE),deploy/keys.sh rotate $(ROLE),docker compose exec -T master python -m master rotate-key)

.PHONY: retire-keys
retire-keys: ## Let only the newest key be valid, likewise
	@$(if $(ROLE),deploy/keys.sh retire $(ROLE),docker compose exec -T master python -m master retire-keys)

.PHONY: backup
backup: ## Write a copy of the queue into build/backups, while it runs
	@deploy/backup.sh

.PHONY: restore
restore: ## Put a backup in the place of the queue: make restore FROM=build/backups/FILE; the former one is kept
	@deploy/restore.sh $(FROM)

.PHONY: certs
certs: ## Make or renew the certificates for TLS in certs/: make certs NAMES="queue.example.org 10.0.0.5"
	@deploy/certs.sh

.PHONY: local
local: $(VENV)/.installed ## Run app/job.py without Docker: a master and WORKERS=5 as plain processes
	$(RUN)/python -m taskyard local --workers $(WORKERS) app/job.py

.PHONY: mail
mail: host ## The example: send 50 mails through the cluster to a real SMTP server that refuses at first
	examples/mail/run.sh

.PHONY: test
test: host test-tools nats-server $(VENV)/.installed .venv-audit/.installed lint ## Check everything; brings up clusters of its own
	$(RUN)/pytest -n 2 -m "not alone"
	$(RUN)/pytest -m alone

.PHONY: test-tools
test-tools:
	@deploy/test-tools.sh

.PHONY: nats-server
nats-server: host
	@deploy/nats-server.sh

.PHONY: guards
guards: host $(VENV)/.installed ## Take out each guard of docs/security.md and see its tests fail
	$(RUN)/python -m tests.guards

.PHONY: chaos
chaos: host $(VENV)/.installed ## Break the cluster in 23 ways while it works, for MINUTES=10, as SEED=n decides
	$(RUN)/python -m tests.chaos --minutes $(MINUTES) --seed $(SEED)

.PHONY: chaos-alone
chaos-alone: host $(VENV)/.installed ## Each of these ways by itself, or ONLY="kill workers": how long work stalls, and its bound
	$(RUN)/python -m tests.chaos --alone $(if $(ONLY),--only "$(ONLY)") --seed $(SEED)

# What deploy/swarm.sh sets; and without the warning that `docker stack` needs a version that `docker compose` does not.
STACK_SETTINGS := NATS_SERVER_IMAGE=nats MASTER_IMAGE=master WORKER_IMAGE=worker DASHBOARD_IMAGE=dashboard NATS_CONFIG=nats
STACK_CONFIG := docker --log-level error compose

.PHONY: lint
lint: $(VENV)/.installed ## ruff, mypy --strict, shellcheck, the compose files
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/mypy
	$(RUN)/shellcheck $$(git ls-files '*.sh' .ci/run)
	docker compose config --quiet
	docker compose -f compose.yaml -f compose.publish.yaml config --quiet
	docker compose -f compose.yaml -f compose.keys.yaml config --quiet
	docker compose -f compose.yaml -f compose.tls.yaml config --quiet
	docker compose -f compose.yaml -f compose.keys.yaml -f compose.tls.yaml config --quiet
	docker compose -f compose.yaml -f compose.nats.yaml config --quiet
	docker compose -f compose.yaml -f compose.nats.yaml -f compose.nats.single.yaml config --quiet
	docker compose -f compose.yaml -f compose.nats.yaml -f compose.nats.tls.yaml config --quiet
	CLUSTER_URL=managers://queue:5000 docker compose -f compose.yaml -f compose.join.yaml config --quiet
	docker compose -f compose.yaml -f examples/mail/compose.yaml config --quiet
	docker compose -f compose.yaml -f deploy/monitoring/compose.yaml config --quiet
	$(STACK_SETTINGS) $(STACK_CONFIG) -f deploy/stack.yaml config --quiet
	$(STACK_SETTINGS) $(STACK_CONFIG) -f deploy/stack.single-master.yaml -f deploy/stack.encrypted.yaml config --quiet

.PHONY: format
format: $(VENV)/.installed ## Put the code into its form
	$(RUN)/ruff check --fix .
	$(RUN)/ruff format .

.PHONY: lock
lock: $(VENV)/.installed ## Lock requirements/*.in anew
	PATH="$(CURDIR)/$(RUN):$$PATH" requirements/lock.sh

.PHONY: audit
audit: .venv-audit/.installed ## Look the locked requirements up in the lists of known vulnerabilities
	.venv-audit/bin/python -m supply.audit requirements/*.txt

.PHONY: sbom
sbom: host .venv-audit/.installed ## Write bills of material of the images into build/sbom
	docker compose build --quiet
	.venv-audit/bin/python -m supply.sbom --out build/sbom $$(docker compose config --images | sort -u)

.PHONY: bench
bench: .venv-bench/.installed ## Measure speed beside the standard library; a look: make bench ROUNDS=1 SCALE=0.05
	.venv-bench/bin/python -m bench --rounds $(ROUNDS) --scale $(SCALE)

.PHONY: bench-replicas
bench-replicas: nats-server redis .venv-bench/.installed .venv-peers/.installed ## Measure the queue on NATS, on 1 and 3 servers with 1 to 8 workers, beside Celery
	.venv-bench/bin/python -m bench --only replicas --rounds $(ROUNDS) --scale $(SCALE)

.PHONY: bench-peers
bench-peers: redis .venv-bench/.installed .venv-peers/.installed .venv-arq/.installed ## Measure speed beside Celery, Dramatiq, RQ, Ray and others
	.venv-bench/bin/python -m bench --only peers --rounds $(ROUNDS) --scale $(SCALE)

.PHONY: redis
redis: # the brokers of the peers
	@command -v redis-server >/dev/null || { apt-get update -q && apt-get install -y -q --no-install-recommends redis-server; }

.PHONY: fuzz
fuzz: $(VENV)/.installed ## Attack the master's port for MINUTES=10, from SEED on, and with thousands of silent strangers
	FUZZ_MINUTES=$(MINUTES) FUZZ_SEED=$(SEED) $(RUN)/pytest -o timeout=0 tests/hostile

.PHONY: clean
clean: ## Remove the cluster with its volumes and images, and what the tests made
	docker compose --profile tools down --volumes --rmi local --remove-orphans
	rm -rf $(VENV) .venv-* build/bench build/sbom .pytest_cache .mypy_cache .ruff_cache .hypothesis

.PHONY: deploy-swarm
deploy-swarm: host ## Deploy to a Docker Swarm, or roll out what has changed: STACK=stack or single-master (deploy/swarm.sh --help)
	@deploy/swarm.sh $(STACK)

.PHONY: deploy
deploy: ## From a bare machine to results, over ssh: make deploy HOST=user@vm (deploy/deploy.sh --help)
	@deploy/deploy.sh $(HOST_GIVEN)

.PHONY: deploy-update
deploy-update: ## Bring what is committed to HOST=user@vm: drain, roll, and back again if it does not get healthy
	@deploy/deploy.sh update $(HOST_GIVEN)

# What keeps the queue: .env remembers it, so that all other targets do.
.PHONY: engine
engine:
	@$(if $(ENGINE),deploy/choose-engine.sh $(ENGINE))

# Docker, Compose and a base image: found, or installed and built.
.PHONY: host
host:
	@deploy/bootstrap.sh
	@deploy/choose-images.sh

$(VENV)/.installed: requirements/dev.txt
	@deploy/python-env.sh $(VENV)
	@touch $@

# The command line on this host: it asks the cluster's own containers, and `docker`.
.venv-scale/.installed: requirements/worker.txt
	@deploy/python-env.sh .venv-scale requirements/worker.txt
	@touch $@

.venv-%/.installed: requirements/%.txt
	@python3 -m venv --clear $(@D)
	@$(@D)/bin/pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@
