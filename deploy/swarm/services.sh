# shellcheck shell=bash disable=SC2154
# Part of deploy/swarm.sh: rolling out, one NATS server after the other, then all the rest.

has_service() { manager service inspect "${STACK_NAME}_$1" >/dev/null 2>&1; }

# SERVICES...: prints the stack's file with these services only.
only() {
  awk -v wanted=" $* " '
    /^[^ #]/ { section = $1; kept = 1 }
    section == "services:" && /^  [^ #].*:$/ { kept = index(wanted, " " substr($1, 1, length($1) - 1) " ") }
    kept' "deploy/$file"
}

# SERVICES...: deploys these; Swarm leaves the others as they are.
deploy() {
  local options=(--resolve-image never) encrypted=() masters=${MASTERS:-2} found=""
  [[ -z ${REGISTRY:-} ]] || options=(--with-registry-auth)
  # Newer command lines say at each deployment that they don't wait, unless they are told so, which older ones don't understand.
  if [[ $(docker stack deploy --help) == *--detach* ]]; then options+=(--detach=true); fi
  [[ ${SWARM_ENCRYPTED:-} != yes ]] || encrypted=(--compose-file deploy/stack.encrypted.yaml)
  # One on each host at most: what is too many would be waited for.
  if ((masters > ${#ready_nodes[@]})); then masters=${#ready_nodes[@]}; fi
  # Read now, since somebody may have scaled them, or `taskyard autoscale` does.
  found=$(manager service inspect "${STACK_NAME}_worker" --format '{{.Spec.Mode.Replicated.Replicas}}' 2>/dev/null) || found=$workers_at_first
  MASTERS=$masters WORKERS=${WORKERS:-$found} \
    manager stack deploy "${options[@]}" --compose-file <(only "$@") "${encrypted[@]}" "$STACK_NAME" >/dev/null
}

# SERVICES...: prints those that are not as wanted yet; or with "back:" those for which Swarm has taken back what was new.
unsettled() {
  local name image wanted state running
  while read -r name image wanted state; do
    case "$state" in
      rollback_completed | rollback_paused | paused) echo "back:$name"; continue ;;
    esac
    # A worker that has drained is complete, and not to come back. What a slot had before has \_ before its name.
    running=$(manager service ps "$name" --format '{{.Name}} {{.Image}} {{.CurrentState}}' | grep -Ec "^[^ ]+ $image (Running|Complete)" || true)
    if [[ $state == updating || $state == rollback_started || $running != "$wanted" ]]; then echo "$name"; fi
  done < <(manager service inspect "${@/#/${STACK_NAME}_}" --format \
    '{{.Spec.Name}} {{.Spec.TaskTemplate.ContainerSpec.Image}} {{.Spec.Mode.Replicated.Replicas}} {{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}')
}

# SERVICES...: of each, what the tasks that failed last, or can't begin, have said: up to the first that has said anything. With
# "back:" before its name those that begin now are what goes on.
tell_failures() {
  local service states tasks id state error told
  for service in "$@"; do
    states="failed|rejected|starting|pending"
    if [[ $service == back:* ]]; then states="failed|rejected"; fi
    service=${service#back:}
    mapfile -t tasks < <(manager service ps -q --no-trunc "$service")
    while IFS='|' read -r _ id state error; do
      say "$service: $state ${error:-}"
      told=$(manager service logs --raw --tail 5 "$id" 2>&1) || true
      if [[ -n $told ]]; then
        printf '%s\n' "$told" | sed "s/^/$service: /" >&2
        break
      fi
    done < <(manager inspect --type task --format '{{json .Status.Timestamp}}|{{.ID}}|{{.Status.State}}|{{.Status.Err}}' "${tasks[@]}" |
      grep -E "\|($states)\|" | sort -r | head -n 3)
  done
}

# SERVICES...: fails when Swarm takes back what is new of one, or they don't get healthy in time.
wait_until_well() {
  local left open names last="" deadline=$((SECONDS + wait_seconds)) calm=0
  while ((calm < 2 && SECONDS < deadline)); do
    left=$(unsettled "$@")
    open=$(grep -v '^back:' <<<"$left" || true)
    if [[ -z $open ]]; then calm=$((calm + 1)); else calm=0; fi
    if [[ $open != "$last" && -n $open ]]; then say "waiting for ${open//$'\n'/, } ..."; fi
    last=$open
    sleep 1
  done
  if [[ -z $left ]]; then return; fi
  mapfile -t names <<<"$left"
  tell_failures "${names[@]}"
  names=("${names[@]#back:}")
  [[ -z $open ]] || fail "not healthy within $wait_seconds s: ${names[*]}; see 'docker service ps --no-trunc' of it"
  fail "${names[*]}: rolled back, since what is new did not get healthy; what was there before goes on. Mend it, and run this again"
}

# [SERVER]: waits until all NATS servers have what the others have; but that one, which is to be changed.
wait_for_copies() {
  run_master "$wait_seconds" python -m master copies --wait "$((wait_seconds / 2))" ${1:+--but "$1"} \
    || fail "the NATS servers have not caught up with each other, so none is stopped: see 'docker service logs' of ${STACK_NAME}_nats1, _nats2, _nats3"
}

spec_of() { manager service inspect "${STACK_NAME}_$1" --format '{{json .Spec.TaskTemplate}}'; }

# One server after the other, each once all others have everything: two of three go on. First one that does not run.
roll_nats() {
  local server before
  local -A broken=()
  if ((${#away_values[@]})); then
    say "the NATS servers stay as they are, since nats${away_values[*]} is on a host that is away"
    return
  fi
  for server in nats1 nats2 nats3; do
    if [[ -n $(unsettled "$server") ]]; then broken[$server]=yes; fi
  done
  for server in "${!broken[@]}" nats1 nats2 nats3; do
    before=$(spec_of "$server")
    if [[ $server == nats1 ]] || ((${#broken[@]})); then wait_for_copies "$server"; fi
    deploy "$server"
    [[ $(spec_of "$server") != "$before" ]] || continue
    say "rolling $server ..."
    wait_until_well "$server"
    wait_for_copies
  done
}

roll_out() {
  local rest=(master worker dashboard)
  if [[ $stack == single-master || -n $is_new ]]; then
    rest=("${services[@]}")
  else
    roll_nats
  fi
  deploy "${rest[@]}"
  wait_until_well "${rest[@]}"
}

# Whether work gets done. The job is somebody's work, and not to be done again at each roll-out.
look() {
  if [[ -n $is_new ]]; then
    say "all services are healthy; running app/job.py ..."
    run_client "$wait_seconds" python -m app.job
  else
    run_client "$wait_seconds" python -m taskyard health
    say "all services are healthy, and the queue answers"
  fi
}
