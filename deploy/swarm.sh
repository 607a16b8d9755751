#!/usr/bin/env bash
# Deploys Taskyard to a Docker Swarm, or rolls out what has changed since: builds the images here, brings them to all hosts, makes what
# is missing (labels, secrets, configs), deploys, waits until all is healthy, and looks whether the queue answers; the first time it
# runs app/job.py instead.
#
#   deploy/swarm.sh [stack]              three hosts or more, replicated queue (deploy/stack.yaml)
#   deploy/swarm.sh single-master        one master, workers on all hosts (deploy/stack.single-master.yaml)
#   deploy/swarm.sh run COMMAND...       run a command in the worker's image as a client with the admin key, show what it prints
#
# Settings, in the environment or in .env (the environment counts first):
#           SWARM_MANAGER  a manager as `docker -H` has it, such as ssh://root@10.0.0.1; without it the engine of this host
#           SWARM_HOSTS    all other hosts likewise, with spaces between; images are copied to them (docker save | docker load)
#           REGISTRY       such as registry.example.org/team: images are pushed there instead, and hosts pull them
#           STACK_NAME     taskyard         MASTERS  2         and all of .env.example for the programs
#           WORKERS        as many as there are, 3 at first; what .env says counts at first only, since they may have been scaled
#           SWARM_ENCRYPTED  yes: what hosts say to each other is encrypted (IPsec, for a stack that is not there yet: docs/security.md)
#           TASKYARD_VERSION  stands in the images' tags, before what tells their content
#           WAIT_SECONDS   300, for all to get healthy, and for `run` until its command has begun
# Examples: SWARM_HOSTS="ssh://root@10.0.0.2 ssh://root@10.0.0.3" deploy/swarm.sh
#           WORKERS=9 deploy/swarm.sh; deploy/swarm.sh run python -m taskyard status
set -euo pipefail
cd "$(dirname "$0")/.."
stack=${1:-stack}
case "$stack" in
  -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' deploy/swarm.sh; exit 0 ;;
  stack) file=stack.yaml services=(nats1 nats2 nats3 master worker dashboard) ;;
  single-master) file=stack.single-master.yaml services=(master worker dashboard) ;;
  run) shift ;;
  *) echo "swarm: there is no stack '$stack': stack, single-master, or see --help" >&2; exit 64 ;;
esac

say() { printf 'swarm: %s\n' "$*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }
on() { if [[ -n $1 ]]; then docker -H "$1" "${@:2}"; else docker "${@:2}"; fi; }
manager() { on "${SWARM_MANAGER:-}" "$@"; }

# Of .env what the environment does not set. `docker stack deploy` itself would look at the environment alone.
take_settings() {
  local line name value
  local -A found=()
  [[ -e .env ]] || return 0
  while IFS= read -r line || [[ -n $line ]]; do
    [[ $line =~ ^(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)$ ]] || continue
    name=${BASH_REMATCH[2]} value=${BASH_REMATCH[3]}
    if [[ $value =~ ^\"([^\"]*)\" || $value =~ ^\'([^\']*)\' ]]; then value=${BASH_REMATCH[1]}; else value=${value%%[[:space:]]#*}; fi
    [[ -n ${!name+set} ]] || found[$name]=${value%"${value##*[![:space:]]}"}
  done <.env
  for name in "${!found[@]}"; do
    if [[ $name == WORKERS ]]; then workers_at_first=${found[$name]}; else export "$name=${found[$name]}"; fi
  done
}

workers_at_first=3
take_settings
export STACK_NAME=${STACK_NAME:-taskyard}
version=${TASKYARD_VERSION:-latest}
wait_seconds=${WAIT_SECONDS:-300}
. deploy/swarm/nodes.sh
. deploy/swarm/images.sh
. deploy/swarm/services.sh
. deploy/swarm/run.sh

check_manager
if [[ $stack == run ]]; then
  run_client "" "$@"
  exit
fi
is_new=""
for service in "${services[@]}"; do has_service "$service" || is_new=yes; done
find_nodes
label_nodes
make_objects
build_images
distribute_images
roll_out
look
remove_old_images
say "Next: deploy/swarm.sh run python -m taskyard workers; the dashboard: docker service ps ${STACK_NAME}_dashboard tells its host, then"
say "'ssh -L 8080:127.0.0.1:${DASHBOARD_PORT:-8080} HOST', http://127.0.0.1:8080, link: 'docker exec' its container, python -m dashboard link. Away: docker stack rm $STACK_NAME"
