# shellcheck shell=bash disable=SC2154
# Part of deploy/swarm.sh: commands in containers of their own, on the stack's network.

# SECONDS (empty: however long it takes) COMMAND...: as a client with the admin key.
run_client() {
  local image url secrets=("source=${STACK_NAME}_admin_key,target=taskyard_authkey")
  image=$(manager service inspect "${STACK_NAME}_worker" --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}' 2>/dev/null) \
    || fail "the stack $STACK_NAME has no worker: deploy it first" 69
  url=$(manager service inspect "${STACK_NAME}_worker" --format '{{range .Spec.TaskTemplate.ContainerSpec.Env}}{{println .}}{{end}}' | grep '^TASKYARD_URL=')
  [[ $url != *=nats* ]] || secrets+=("source=${STACK_NAME}_nats_client,target=taskyard_nats_client")
  run_job "$1" "$image" "$url" "${secrets[*]}" "${@:2}"
}

# SECONDS COMMAND...: as a master, which may ask NATS anything.
run_master() {
  local url
  url=$(manager service inspect "${STACK_NAME}_master" --format '{{range .Spec.TaskTemplate.ContainerSpec.Env}}{{println .}}{{end}}' | grep '^TASKYARD_URL=')
  run_job "$1" "$MASTER_IMAGE" "$url" "source=${STACK_NAME}_nats_master,target=taskyard_nats_master" "${@:2}"
}

# SECONDS IMAGE URL SECRETS COMMAND...: prints what it prints; fails when it fails, has not begun within WAIT_SECONDS, or takes longer
# than that.
run_job() {
  local name="${STACK_NAME}_run_$$_$RANDOM" code=0 secrets
  read -ra secrets <<<"$4"
  # shellcheck disable=SC2064  # the name of now
  trap "manager service rm '$name' >/dev/null 2>&1 || true" EXIT
  manager service create --quiet --detach --no-resolve-image --name "$name" --mode replicated-job --restart-condition none --init --read-only \
    --cap-drop ALL --mount type=tmpfs,target=/tmp --network "${STACK_NAME}_queue" --env "$3" --env COLUMNS=120 \
    "${secrets[@]/#/--secret=uid=10001,gid=10001,mode=0400,}" "$2" "${@:5}" >/dev/null
  wait_for_job "$1" "$name" || code=1
  manager service logs --raw "$name" || true
  manager service rm "$name" >/dev/null
  trap - EXIT
  return "$code"
}

# SECONDS NAME: waits until it has ended; fails unless it did so well.
wait_for_job() {
  local node="" state="" error="" began=$SECONDS
  while [[ $state != Complete* ]]; do
    IFS='|' read -r node state error < <(manager service ps --no-trunc "$2" --format '{{.Node}}|{{.CurrentState}}|{{.Error}}' | head -n 1) || true
    case "$state" in
      Failed* | Rejected* | Orphaned* | Shutdown* | Remove*) say "the command has ended: $state ${error:-}"; return 1 ;;
      Running*)
        if [[ -n $1 ]] && ((SECONDS - began >= $1)); then say "the command has not ended within $1 s"; return 1; fi
        if [[ $(manager node inspect "$node" --format '{{.Status.State}}') == down ]]; then say "host $node is down, with the command"; return 1; fi
        ;;
      *) if ((SECONDS - began >= wait_seconds)); then say "the command has not begun within $wait_seconds s: $state ${error:-}"; return 1; fi ;;
    esac
    sleep 0.2
  done
}
