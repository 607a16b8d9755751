# shellcheck shell=bash disable=SC2154  # what is not set here is in deploy/on-host.sh
# Sourced by deploy/on-host.sh: starting, seeing that all is well, draining.

# All that goes on running: not the job, nor what helps to wait for it.
services() { docker compose config --services | grep -vxE 'job|after-job'; }
# Not grep -q, which leaves at the first match: its writer may fail then, and with pipefail the pipe does.
on_nats() { services | grep -x nats1 >/dev/null; }
cli() { docker compose run --rm -T --no-deps --quiet-pull cli "$@" </dev/null 2>>"$log" 9>&-; }

workers_now() {
  local count
  count=$(docker compose ps --quiet worker 2>/dev/null | wc -l)
  if ((count == 0)); then count=$(setting WORKERS); fi
  echo "${WORKERS:-${count:-2}}"
}

start() { # WORKERS
  local all
  mapfile -t all < <(services)
  say "starting $(setting TASKYARD_VERSION): the master ..."
  quietly docker compose up --detach --no-build --wait --wait-timeout "$wait_seconds" master || return 1
  submit_smoke_test || return 1
  say "starting the rest, $1 workers ..."
  quietly docker compose up --detach --no-build --wait --wait-timeout "$wait_seconds" --scale "worker=$1" "${all[@]}" || return 1
  passes_smoke_test
}

# Before there are workers, and before all else that waits: so no long task can have taken its slot.
submit_smoke_test() {
  local words said
  smoke_task="" smoke_job=""
  [[ -n $smoke ]] || return 0
  if cli status --json | grep -E '"paused": ?true' >/dev/null; then
    say "smoke test: left out, since the queue is paused"
    return 0
  fi
  read -ra words <<<"$smoke"
  said=$(cli submit --priority 2147483647 --expiry $((wait_seconds + smoke_seconds)) "${words[@]}") || true
  smoke_task=$(sed -n 's/^task //p' <<<"$said") smoke_job=$(sed -n 's/^job //p' <<<"$said")
  [[ -n $smoke_job ]] || { say "smoke test: '$smoke' can't be submitted"; return 1; }
}

passes_smoke_test() {
  local said
  [[ -n $smoke_job ]] || return 0
  said=$(timeout "$smoke_seconds" docker compose run --rm -T --no-deps --quiet-pull cli results "$smoke_job" --follow </dev/null 2>>"$log" 9>&-) || true
  if [[ $said == *"$expected"* ]]; then
    say "smoke test: $smoke -> $expected"
    return 0
  fi
  if [[ -z $said ]] && is_crowded_out; then
    say "smoke test: left out, since all slots are busy with other tasks"
    cli cancel "$smoke_task" >>"$log" || true
    return 0
  fi
  say "smoke test: '$smoke' should have returned '$expected', but: '${said:-nothing within $smoke_seconds s}'"
  cli cancel "$smoke_task" >>"$log" || true
  return 1
}

# Whether the smoke test has not begun, and every slot runs something: workers that were not stopped have taken that before.
is_crowded_out() {
  # Columns: worker, host, state, python, slots, busy.
  cli tasks --job "$smoke_job" | grep -w ready >/dev/null && cli workers | awk -F '\t' '{ slots += $5; busy += $6 } END { exit !(slots && busy >= slots) }'
}

# What is not well, and what it has last said; what was only stopped is well.
tell_unwell() {
  local service
  docker compose ps --all --format '{{.Service}}: {{.Status}}' 2>/dev/null | sort | uniq -c >&2 || true
  for service in $(docker compose ps --all --format '{{.Service}} {{.State}} {{.ExitCode}} {{.Health}}' 2>/dev/null \
    | awk '!($2 == "exited" && $3 == 0) && $4 != "healthy" { print $1 }' | sort -u); do
    docker compose logs --no-color --no-log-prefix --tail 5 "$service" 2>/dev/null | sed "s/^/  $service: /" >&2 || true
  done
}

# They take nothing more, and finish what they run; what takes longer is given back to the queue, at no attempt's cost.
drain() {
  local ids told hosts busy deadline=$((SECONDS + drain_seconds))
  # A container of Compose is called by the beginning of its id.
  mapfile -t ids < <(docker compose ps --quiet worker | cut -c 1-12)
  ((${#ids[@]})) || return 0
  told=$(cli workers) || { say "the queue does not tell its workers: they are stopped as they are"; return 0; }
  # Those that are heard of: one that has drained already is not, and would have the queue refuse to drain any.
  mapfile -t hosts < <(awk -F '\t' -v ids="${ids[*]}" '$2 != "" && index(ids, $2) { print $2 }' <<<"$told" | sort -u)
  ((${#hosts[@]})) || return 0
  say "draining ${#hosts[@]} workers, for at most $drain_seconds s ..."
  cli drain "${hosts[@]}" >>"$log" || { say "they could not be told to drain: they are stopped as they are"; return 0; }
  while ((SECONDS < deadline)); do
    # Columns: worker, host, state, python, slots, busy, leased.
    busy=$(cli workers | awk -F '\t' -v ids="${hosts[*]}" 'index(ids, $2) && $6 + $7 > 0' | wc -l) || return 0
    ((busy)) || return 0
    sleep 1
  done
}
