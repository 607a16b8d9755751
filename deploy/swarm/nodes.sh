# shellcheck shell=bash disable=SC2154
# Part of deploy/swarm.sh: the hosts, and what the swarm keeps for the stack.

check_manager() {
  local control
  control=$(manager info --format '{{.Swarm.ControlAvailable}}') || fail "no engine answers at ${SWARM_MANAGER:-this host}: set SWARM_MANAGER" 69
  [[ $control == true ]] || fail "${SWARM_MANAGER:-this host} is no manager of a swarm: 'docker swarm init' there, or set SWARM_MANAGER to one" 69
}

# Finds `ready_nodes`, which take tasks, the manager itself first; and of all nodes `name_of` and `label_of`.
find_nodes() {
  local key=taskyard.nats id name state wants label away=() all
  [[ $stack == stack ]] || key=taskyard.master
  ready_nodes=()
  declare -gA name_of=() label_of=()
  mapfile -t all < <({ manager node inspect self --format '{{.ID}}'; manager node ls --filter role=manager -q; manager node ls -q; } | awk '!seen[$0]++')
  while read -r id name state wants label; do
    name_of[$id]=$name label_of[$id]=$label
    if [[ $state == ready && $wants == active ]]; then ready_nodes+=("$id"); else away+=("$name"); fi
  done < <(manager node inspect "${all[@]}" \
    --format "{{.ID}} {{.Description.Hostname}} {{.Status.State}} {{.Spec.Availability}} {{index .Spec.Labels \"$key\"}}")
  if ((${#away[@]})); then
    say "${away[*]}: down, or told to take nothing; left out. Once it is back, run this again: it gets what it lacks; if it never comes back: docker node rm"
  fi
}

is_ready() { [[ " ${ready_nodes[*]} " == *" $1 "* ]]; }

# Each label that no node has goes to a node that has none of them. What somebody has labelled stays.
label_nodes() {
  local key=taskyard.nats values=(1 2 3) value id free=()
  [[ $stack == stack ]] || key=taskyard.master values=(1)
  for id in "${ready_nodes[@]}"; do [[ -n ${label_of[$id]} ]] || free+=("$id"); done
  away_values=()
  for value in "${values[@]}"; do
    if id=$(holder_of "$value"); then
      is_ready "$id" || away_values+=("$value")
      continue
    fi
    ((${#free[@]})) || fail "no node is left for the label $key=$value: $stack needs ${#values[@]} that are ready; 'docker swarm join' more, or STACK=single-master" 69
    id=${free[0]} free=("${free[@]:1}")
    manager node update --label-add "$key=$value" "$id" >/dev/null
    label_of[$id]=$value
    say "labelled node ${name_of[$id]} $key=$value"
  done
  if ((${#away_values[@]})) && [[ $stack == single-master || -n $is_new ]]; then
    fail "node ${name_of[$(holder_of "${away_values[0]}")]} has the label $key=${away_values[0]}, and is not there: start it, or give the label to another" 69
  fi
}

# VALUE: prints the node with this label, a ready one first.
holder_of() {
  local id
  for id in "${ready_nodes[@]}" "${!label_of[@]}"; do
    if [[ ${label_of[$id]} == "$1" ]]; then echo "$id"; return; fi
  done
  return 1
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
  NATS_CONFIG=${STACK_NAME}_nats_$(sha256sum <deploy/nats/server.conf | cut -c 1-12)
  export NATS_CONFIG
  manager config inspect "$NATS_CONFIG" >/dev/null 2>&1 || manager config create "$NATS_CONFIG" deploy/nats/server.conf >/dev/null
}
