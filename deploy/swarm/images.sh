# shellcheck shell=bash disable=SC2154
# Part of deploy/swarm.sh: the images, built here, brought to all hosts, and removed from them when nothing needs them any more.

# SERVICE: prints its image's name, of which the content is part, so that what has not changed is not rolled. Without a registry it
# is called localhost/..., which no host asks a registry elsewhere for.
image_of() {
  local built="taskyard/$1:$version" name
  name=${REGISTRY:-localhost}/$built-$(docker image inspect "$built" --format '{{.Id}}' | cut -d : -f 2 | cut -c 1-12)
  docker tag "$built" "$name"
  echo "$name"
}

build_images() {
  local built=(master worker dashboard)
  if [[ $stack == stack ]]; then
    deploy/choose-images.sh nats
    built+=(nats1)
  fi
  say "building the images ..."
  COMPOSE_FILE=compose.yaml:compose.nats.yaml TASKYARD_VERSION=$version docker compose build --quiet "${built[@]}"
  MASTER_IMAGE=$(image_of master) WORKER_IMAGE=$(image_of worker) DASHBOARD_IMAGE=$(image_of dashboard)
  export MASTER_IMAGE WORKER_IMAGE DASHBOARD_IMAGE
  images=("$MASTER_IMAGE" "$WORKER_IMAGE" "$DASHBOARD_IMAGE")
  if [[ $stack == stack ]]; then
    NATS_SERVER_IMAGE=$(image_of nats)
    export NATS_SERVER_IMAGE
    images+=("$NATS_SERVER_IMAGE")
  fi
}

# HOST: copies to it what it lacks, in one stream.
copy_images() {
  local image missing=()
  for image in "${images[@]}"; do
    on "$1" image inspect "$image" >/dev/null 2>&1 || missing+=("$image")
  done
  ((${#missing[@]})) || return 0
  say "copying ${#missing[@]} image(s) to ${1:-this host} ..."
  docker save "${missing[@]}" | on "$1" load --quiet >/dev/null
}

push_images() {
  local image
  for image in "${images[@]}"; do
    say "pushing $image ..."
    docker push --quiet "$image" >/dev/null
  done
}

# To every node that is ready. One that is down may be named in SWARM_HOSTS all the same.
distribute_images() {
  local host id covered=" " copies=() copy
  hosts=()
  if [[ -n ${REGISTRY:-} ]]; then push_images; return; fi
  for host in "${SWARM_MANAGER:-}" ${SWARM_HOSTS:-}; do
    if id=$(timeout 20 docker ${host:+-H "$host"} info --format '{{.Swarm.NodeID}}' 2>/dev/null); then
      hosts+=("$host") covered+="$id "
    else
      say "no engine answers at ${host:-this host}: it gets no images"
    fi
  done
  for id in "${ready_nodes[@]}"; do
    [[ $covered == *" $id "* ]] || fail "node ${name_of[$id]} gets no images: name it in SWARM_HOSTS, or set REGISTRY" 78
  done
  for host in "${hosts[@]}"; do
    copy_images "$host" &
    copies+=($!)
  done
  for copy in "${copies[@]}"; do
    wait "$copy" || fail "images could not be copied to all hosts: can this user log in there, does each have the room?"
  done
}

# HOST: containers of run_job, which Swarm leaves behind when their service is removed; each would keep its image.
remove_ended_runs() {
  local ended
  mapfile -t ended < <(on "$1" ps -aq --filter status=exited --filter "name=${STACK_NAME}_run_")
  ((${#ended[@]} == 0)) || on "$1" rm "${ended[@]}" >/dev/null 2>&1 || true
}

# Of former versions, here and on all hosts. What a service of this swarm has, or would go back to, stays.
remove_old_images() {
  local host image needed ids
  [[ -z ${REGISTRY:-} ]] || return 0
  mapfile -t ids < <(manager service ls -q)
  needed=$(printf '%s\n' "${images[@]}"; manager service inspect "${ids[@]}" --format \
    '{{.Spec.TaskTemplate.ContainerSpec.Image}}{{if .PreviousSpec}}{{println}}{{.PreviousSpec.TaskTemplate.ContainerSpec.Image}}{{end}}')
  while IFS= read -r host; do
    remove_ended_runs "$host"
    for image in $(on "$host" image ls --format '{{.Repository}}:{{.Tag}}' --filter 'reference=localhost/taskyard/*'); do
      if ! grep -qxF "$image" <<<"$needed" && on "$host" image rm "$image" >/dev/null 2>&1; then
        say "removed $image from ${host:-this host}"
      fi
    done
  done < <(printf '%s\n' "" "${hosts[@]}" | sort -u)
}
