#!/usr/bin/env bash
# Deploys Taskyard to a Docker Swarm, or rolls out what has changed since: builds the images here, brings them to all hosts, makes what
# is missing (labels, secrets, configs), deploys, waits until all is healthy, and runs app/job.py.
#
#   deploy/swarm.sh [stack]              three hosts or more, replicated queue (deploy/stack.yaml)
#   deploy/swarm.sh single-master        one master, workers on all hosts (deploy/stack.single-master.yaml)
#   deploy/swarm.sh run COMMAND...       run a command in the worker's image as a client with the admin key, show what it prints
#
# Settings: SWARM_MANAGER  a manager as `docker -H` has it, such as ssh://root@10.0.0.1; without it the engine of this host
#           SWARM_HOSTS    all other hosts likewise, with spaces between; images are copied to them (docker save | docker load)
#           REGISTRY       such as registry.example.org/team: images are pushed there instead, and hosts pull them
#           STACK_NAME     taskyard         WORKERS as many as there are, 3 at first; MASTERS 2; and all of .env.example for the programs
#           TASKYARD_VERSION  stands in the images' tags, before what tells their content
#           WAIT_SECONDS   300, for all to get healthy
# Examples: SWARM_HOSTS="ssh://root@10.0.0.2 ssh://root@10.0.0.3" deploy/swarm.sh
#           WORKERS=9 deploy/swarm.sh; deploy/swarm.sh run python -m taskyard status
set -euo pipefail
cd "$(dirname "$0")/.."

stack=${1:-stack}
export STACK_NAME=${STACK_NAME:-taskyard}
version=${TASKYARD_VERSION:-latest}
wait_seconds=${WAIT_SECONDS:-300}

say() { printf 'swarm: %s\n' "$*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }
on() { if [[ -n $1 ]]; then docker -H "$1" "${@:2}"; else docker "${@:2}"; fi; }
manager() { on "${SWARM_MANAGER:-}" "$@"; }

check_manager() {
  local control
  control=$(manager info --format '{{.Swarm.ControlAvailable}}') || fail "no engine answers at ${SWARM_MANAGER:-this host}: set SWARM_MANAGER" 69
  [[ $control == true ]] || fail "${SWARM_MANAGER:-this host} is no manager of a swarm: 'docker swarm init' there, or set SWARM_MANAGER to one" 69
}

# Ready nodes, the manager itself first.
nodes() { { manager node inspect self --format '{{.ID}}'; manager node ls --filter role=manager -q; manager node ls -q; } | awk '!seen[$0]++'; }

label_nodes() {
  local wanted=("taskyard.nats=1" "taskyard.nats=2" "taskyard.nats=3") all label i=0
  [[ $stack == stack ]] || wanted=("taskyard.master=1")
  mapfile -t all < <(nodes)
  ((${#all[@]} >= ${#wanted[@]})) || fail "this swarm has ${#all[@]} node(s), $stack needs ${#wanted[@]}: 'docker swarm join' more, or STACK=single-master" 69
  # What somebody has labelled stays.
  if manager node inspect "${all[@]}" --format '{{json .Spec.Labels}}' | grep -q "\"${wanted[0]%=*}\""; then return; fi
  for label in "${wanted[@]}"; do
    manager node update --label-add "$label" "${all[i]}" >/dev/null
    say "labelled node $(manager node inspect "${all[i]}" --format '{{.Description.Hostname}}') $label"
    i=$((i + 1))
  done
}

new_key() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

make_objects() {
  local name
  for name in worker_key client_key admin_key dashboard_token dashboard_read_token nats_master nats_client nats_route; do
    if ! manager secret inspect "${STACK_NAME}_$name" >/dev/null 2>&1; then
      new_key | manager secret create "${STACK_NAME}_$name" - >/dev/null
      say "made the secret ${STACK_NAME}_$name"
    fi
  done
  NATS_CONFIG=${STACK_NAME}_nats_$(sha256sum <deploy/nats/node.conf | cut -c 1-12)
  export NATS_CONFIG
  manager config inspect "$NATS_CONFIG" >/dev/null 2>&1 || manager config create "$NATS_CONFIG" deploy/nats/node.conf >/dev/null
}

# SERVICE: builds its image and prints its name, of which the content is part, so that what has not changed is not rolled. Without a
# registry it is called localhost/..., which no host asks a registry elsewhere for.
image_of() {
  local built="taskyard/$1:$version" name
  name=${REGISTRY:-localhost}/$built-$(docker image inspect "$built" --format '{{.Id}}' | cut -d : -f 2 | cut -c 1-12)
  docker tag "$built" "$name"
  echo "$name"
}

build_images() {
  local services=(master worker dashboard) service file=compose.yaml:compose.nats.yaml
  if [[ $stack == stack ]]; then
    deploy/choose-images.sh nats
    services+=(nats1)
  fi
  say "building the images ..."
  COMPOSE_FILE=$file TASKYARD_VERSION=$version docker compose build --quiet "${services[@]}"
  MASTER_IMAGE=$(image_of master) WORKER_IMAGE=$(image_of worker) DASHBOARD_IMAGE=$(image_of dashboard)
  export MASTER_IMAGE WORKER_IMAGE DASHBOARD_IMAGE
  images=("$MASTER_IMAGE" "$WORKER_IMAGE" "$DASHBOARD_IMAGE")
  if [[ $stack == stack ]]; then
    nats_image=$(image_of nats)
    images+=("$nats_image")
  fi
}

# HOST: what it lacks, in one stream.
copy_images() {
  local image missing=()
  for image in "${images[@]}"; do
    on "$1" image inspect "$image" >/dev/null 2>&1 || missing+=("$image")
  done
  ((${#missing[@]})) || return 0
  say "copying ${#missing[@]} image(s) to ${1:-this host} ..."
  docker save "${missing[@]}" | on "$1" load --quiet >/dev/null
}

distribute_images() {
  local image host covered=()
  if [[ -n ${REGISTRY:-} ]]; then
    for image in "${images[@]}"; do
      say "pushing $image ..."
      docker push --quiet "$image" >/dev/null
    done
    return
  fi
  local copies=() copy
  for host in "${SWARM_MANAGER:-}" ${SWARM_HOSTS:-}; do
    copy_images "$host" &
    copies+=($!)
    covered+=("$(on "$host" info --format '{{.Swarm.NodeID}}')")
  done
  for copy in "${copies[@]}"; do
    wait "$copy" || fail "images could not be copied to all hosts: can this user log in there, does each have the room?"
  done
  for host in $(manager node ls -q); do
    [[ " ${covered[*]} " == *" $host "* ]] \
      || fail "node $(manager node inspect "$host" --format '{{.Description.Hostname}}') gets no images: name it in SWARM_HOSTS, or set REGISTRY" 78
  done
}

# Somebody may have scaled them, or `taskyard autoscale`.
keep_workers() {
  WORKERS=${WORKERS:-$(manager service inspect "${STACK_NAME}_worker" --format '{{.Spec.Mode.Replicated.Replicas}}' 2>/dev/null || true)}
  export WORKERS
}

deploy() {
  local options=(--resolve-image never)
  [[ -z ${REGISTRY:-} ]] || options=(--with-registry-auth)
  manager stack deploy "${options[@]}" --compose-file "deploy/$file" "$STACK_NAME" >/dev/null
}

# Services that are not yet as wanted; fails when one was rolled back.
unsettled() {
  local service spec state wanted
  for service in $(manager stack services -q "$STACK_NAME"); do
    spec=$(manager service inspect "$service" --format '{{.Spec.Name}} {{.Spec.TaskTemplate.ContainerSpec.Image}} {{.Spec.Mode.Replicated.Replicas}} {{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}')
    read -r name image wanted state <<<"$spec"
    case "$state" in
      rollback*|paused) echo "$name was rolled back" ; continue ;;
    esac
    if [[ $state == updating || $(manager service ps "$service" --filter desired-state=running --format '{{.Image}} {{.CurrentState}}' | grep -c "^$image Running") != "$wanted" ]]; then
      echo "$name"
    fi
  done
}

# What services that are not well have last said.
tell_logs() {
  local service
  while read -r service _; do
    if [[ -n $service ]]; then manager service logs --raw --tail 3 "$service" 2>&1 | sed "s/^/$service: /" >&2 || true; fi
  done <<<"$1"
}

wait_until_well() {
  local left last="" deadline=$((SECONDS + wait_seconds)) calm=0
  while ((calm < 2)); do
    left=$(unsettled)
    if [[ $left == *"rolled back"* ]]; then
      fail "${left%%$'\n'*}, since what is new did not get healthy: see 'docker service ps --no-trunc' and 'docker service logs' of it"
    fi
    if [[ -z $left ]]; then calm=$((calm + 1)); else calm=0; fi
    if [[ $left != "$last" && -n $left ]]; then say "waiting for ${left//$'\n'/, } ..."; fi
    last=$left
    ((SECONDS < deadline)) || tell_logs "$left"
    ((SECONDS < deadline)) || fail "not healthy within $wait_seconds s: ${left//$'\n'/, }; see 'docker service ps --no-trunc' of it"
    sleep 1
  done
}

# One NATS server after the other: two of three go on. What runs now stays until it is its turn.
roll_nats() {
  local n service now
  for n in 1 2 3; do
    service=${STACK_NAME}_nats$n
    now=$(manager service inspect "$service" --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}' 2>/dev/null || true)
    export "NATS${n}_IMAGE=${now:-$nats_image}"
  done
  for n in 1 2 3; do
    now=NATS${n}_IMAGE
    [[ ${!now} != "$nats_image" ]] || continue
    export "$now=$nats_image"
    say "rolling nats$n ..."
    deploy
    wait_until_well
  done
}

run() {
  local name="${STACK_NAME}_run_$$_$RANDOM" code=0 image secrets=("source=${STACK_NAME}_admin_key,target=taskyard_authkey")
  image=$(manager service inspect "${STACK_NAME}_worker" --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}') || fail "the stack $STACK_NAME has no worker: deploy it first"
  local url
  url=$(manager service inspect "${STACK_NAME}_worker" --format '{{range .Spec.TaskTemplate.ContainerSpec.Env}}{{println .}}{{end}}' | grep '^TASKYARD_URL=')
  [[ $url != *=nats* ]] || secrets+=("source=${STACK_NAME}_nats_client,target=taskyard_nats_client")
  # shellcheck disable=SC2064  # the name of now
  trap "manager service rm '$name' >/dev/null 2>&1 || true" EXIT
  manager service create --quiet --detach --no-resolve-image --name "$name" --mode replicated-job --restart-condition none --init --read-only \
    --cap-drop ALL --mount type=tmpfs,target=/tmp --network "${STACK_NAME}_queue" --env "$url" --env COLUMNS=120 \
    "${secrets[@]/#/--secret=uid=10001,gid=10001,mode=0400,}" "$image" "$@" >/dev/null
  local state=""
  until [[ $state =~ ^(Complete|Failed|Rejected) ]]; do
    state=$(manager service ps "$name" --format '{{.CurrentState}}' | head -n 1)
    sleep 0.2
  done
  manager service logs --raw "$name"
  [[ $state == Complete* ]] || code=1
  return "$code"
}

case "$stack" in
  -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
  stack) file=stack.yaml ;;
  single-master) file=stack.single-master.yaml ;;
  run) shift; check_manager; run "$@"; exit ;;
  *) fail "there is no stack '$stack': stack, single-master, or see --help" 64 ;;
esac
check_manager
label_nodes
make_objects
keep_workers
build_images
distribute_images
if [[ $stack == stack ]]; then roll_nats; fi
deploy
wait_until_well
say "all services are healthy; running app/job.py ..."
run python -m app.job
say "Next: deploy/swarm.sh run python -m taskyard workers; the dashboard: docker service ps ${STACK_NAME}_dashboard tells its host, then"
say "'ssh -L 8080:127.0.0.1:${DASHBOARD_PORT:-8080} HOST', http://127.0.0.1:8080, link: 'docker exec' its container, python -m dashboard link. Away: docker stack rm $STACK_NAME"
