#!/usr/bin/env bash
# What is done on a machine that Taskyard is deployed to, as root, in the clone that this file is part of: by deploy/deploy.sh over ssh, by
# deploy/cloud-init.yaml at the first boot, by deploy/taskyard.service at every boot; by hand just as well.
#
#   deploy/on-host.sh deploy [COMMIT]     from nothing to results: Docker, images, start, smoke test; from another version: update
#   deploy/on-host.sh update [COMMIT]     build beside what runs, drain, keep a copy of the queue, roll; back again if it does not get healthy
#   deploy/on-host.sh boot                start what is deployed
#
# COMMIT is HEAD if it is not said. Settings: see deploy/deploy.sh --help. Its log is deploy.log in that folder.
set -euo pipefail
cd "$(dirname "$0")/.."
# A connection that is lost ends nothing halfway: what was begun comes to its end, well or rolled back.
trap '' PIPE HUP

log=$PWD/deploy.log
smoke=${SMOKE-square 12}
expected=${SMOKE_EXPECTS-12 * 12 = 144}
wait_seconds=${WAIT_SECONDS:-180}
drain_seconds=${DRAIN_SECONDS:-60}

say() { printf '%s: %s\n' "$(hostname)" "$*" | tee -a "$log" >&2 || true; }
fail() { say "$1"; exit "${2:-1}"; }
# Into the log; the lock stays with this script, and not with an engine that it starts.
quietly() {
  touch "$log"
  mark=$(wc -c <"$log")
  "$@" >>"$log" 2>&1 </dev/null 9>&-
}
# The end of what the last of these has printed.
tell_log() { tail -c "+$((mark + 1))" "$log" | tail -n 15 >&2 || true; }
cli() { docker compose run --rm -T --no-deps --quiet-pull cli "$@" </dev/null 2>>"$log" 9>&-; }

version_of() { git rev-parse --short=7 "$1"; }
setting() { sed -n "s/^$1=//p" .env 2>/dev/null | tail -n 1; }
set_setting() { # NAME VALUE
  { grep -v "^$1=" .env 2>/dev/null || true; echo "$1=$2"; } >.env.new
  chmod 600 .env.new
  mv .env.new .env
}

# All that goes on running: not the job, nor what helps to wait for it.
services() { docker compose config --services | grep -vxE 'job|after-job'; }

take_settings() {
  local given
  [[ -e .env.given ]] || return 0
  given=$(sed -n 's/^WORKERS=//p' .env.given | tail -n 1)
  WORKERS=${WORKERS:-$given}
  { grep -vE '^TASKYARD_VERSION=' .env.given || true; grep -E '^(TASKYARD_VERSION|[A-Z]+_IMAGE)=' .env 2>/dev/null || true; } >.env.new
  chmod 600 .env.new
  mv .env.new .env
  rm .env.given
}

prepare_docker() {
  say "checking Docker, installing it where it is missing ..."
  quietly deploy/bootstrap.sh || { tell_log; fail "Docker can't be had: the lines above, and $log, say why"; }
}

# VERSION: of the sources that are checked out.
build() {
  say "choosing base images ..."
  quietly deploy/choose-images.sh || { tell_log; return 1; }
  say "building the images $1 ..."
  TASKYARD_VERSION=$1 quietly docker compose build --quiet || { tell_log; return 1; }
}

start() { # WORKERS
  local all
  mapfile -t all < <(services)
  say "starting $(setting TASKYARD_VERSION): the master ..."
  quietly docker compose up --detach --no-build --no-deps --wait --wait-timeout "$wait_seconds" master || return 1
  say "starting the rest, $1 workers ..."
  quietly docker compose up --detach --no-build --remove-orphans --wait --wait-timeout "$wait_seconds" --scale "worker=$1" "${all[@]}" || return 1
  passes_smoke_test
}

passes_smoke_test() {
  local words said
  [[ -n $smoke ]] || return 0
  read -ra words <<<"$smoke"
  said=$(timeout 60 docker compose run --rm -T --no-deps --quiet-pull cli submit "${words[@]}" --wait </dev/null 2>>"$log" 9>&-) || true
  if [[ $said != *"$expected"* ]]; then
    say "smoke test: '$smoke' should have returned '$expected', but: '${said:-nothing within 60 s}'"
    return 1
  fi
  say "smoke test: $smoke -> $expected"
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

workers_now() {
  local count
  count=$(docker compose ps --quiet worker 2>/dev/null | wc -l)
  if ((count == 0)); then count=$(setting WORKERS); fi
  echo "${WORKERS:-${count:-2}}"
}

enable_boot() {
  if [[ -d /run/systemd/system ]]; then
    sed "s|/opt/taskyard|$PWD|g" deploy/taskyard.service >/etc/systemd/system/taskyard.service
    quietly systemctl daemon-reload
    quietly systemctl enable --now taskyard.service || { tell_log; fail "taskyard.service can't be enabled: see 'systemctl status taskyard'"; }
    say "taskyard.service starts it at every boot"
  else
    say "no systemd here: Docker's restart policies start it again, once the engine runs"
  fi
}

install() { # COMMIT
  local version
  version=$(version_of "$1")
  git checkout --quiet --detach "$1"
  take_settings
  prepare_docker
  build "$version" || fail "the images can't be built: the lines above, and $log, say why"
  set_setting TASKYARD_VERSION "$version"
  set_setting WORKERS "$(workers_now)"
  if ! start "$(setting WORKERS)"; then
    tell_unwell
    fail "it did not get healthy within $wait_seconds s: the lines above, and $log, say why; try again when that is mended"
  fi
  enable_boot
  git update-ref refs/taskyard/deployed "$1"
  say "$version runs with $(setting WORKERS) workers"
}

# They take nothing more, and finish what they run; what takes longer is given back to the queue, at no attempt's cost.
drain() {
  local ids busy deadline=$((SECONDS + drain_seconds))
  mapfile -t ids < <(docker compose ps --quiet worker | cut -c 1-12)
  ((${#ids[@]})) || return 0
  say "draining ${#ids[@]} workers, for at most $drain_seconds s ..."
  cli drain "${ids[@]}" >>"$log" || { say "they could not be told to drain: they are stopped as they are"; return 0; }
  while ((SECONDS < deadline)); do
    # Columns: worker, host, state, python, slots, busy, leased.
    busy=$(cli workers | awk -F '\t' -v ids="${ids[*]}" 'index(ids, $2) && $6 + $7 > 0' | wc -l) || return 0
    ((busy)) || return 0
    sleep 1
  done
}

# The number of the format that the queue's file has; nothing where it can't be read.
format() {
  docker compose run --rm -T --no-deps --entrypoint python master -c \
    'import sqlite3; print(sqlite3.connect("file:/var/lib/taskyard/taskyard.db?mode=ro", uri=True).execute("PRAGMA user_version").fetchone()[0])' \
    </dev/null 2>>"$log" 9>&- || true
}

# FILE: a copy of the queue, as `make backup` writes it, while no master runs.
keep_copy() {
  mkdir -p backups && chmod 700 backups
  docker compose run --rm -T --quiet-pull master python -m master backup </dev/null 2>>"$log" 9>&- >"$1.new" || return 1
  mv "$1.new" "$1"
}

# FILE: such a copy; as `make restore` does it.
put_back() { docker compose run --rm -T --quiet-pull master python -m master restore <"$1" >>"$log" 2>&1 9>&-; }

# COMMIT VERSION WORKERS
roll_back() {
  local now what="the queue goes on with all that it has done meanwhile"
  tell_unwell
  say "$2 did not get well: rolling back to $former_version ..."
  quietly docker compose stop || true
  git checkout --quiet --detach "$former"
  mv .env.former .env
  now=$(format)
  if [[ $now != "$format" ]]; then
    put_back "$copy" || fail "the queue can't be put back: $copy has it as it was; see $log"
    what="$2 had changed the queue's format ($format -> ${now:-unreadable}): it is again as it was before the update; as $2 left it, it is kept on the master's volume"
  fi
  start "$3" || { tell_unwell; fail "$former_version does not get well either: the lines above, and $log, say why; the queue as it was: $copy"; }
  fail "rolled back: $former_version runs again; $what. Why $2 was not well: the lines above, and $log" 1
}

update() { # COMMIT
  local version workers
  former=$(git rev-parse refs/taskyard/deployed)
  former_version=$(version_of "$former") version=$(version_of "$1")
  say "updating $former_version to $version"
  [[ -z $(git status --porcelain --untracked-files=no) ]] || fail "files of $PWD were changed by hand: commit what is to stay, and 'git checkout .' there" 73
  if [[ -e .env.former ]]; then
    say "an update was interrupted here: beginning again with what $former_version had"
    mv .env.former .env
  fi
  touch .env
  cp -p .env .env.former
  git checkout --quiet --detach "$1"
  take_settings
  if ! build "$version"; then
    git checkout --quiet --detach "$former"
    mv .env.former .env
    fail "the images $version can't be built; $former_version runs as before, nothing was touched" 65
  fi
  workers=$(workers_now)
  set_setting TASKYARD_VERSION "$version"
  set_setting WORKERS "$workers"
  mv .env .env.next
  # What is done with the former one is done with its own files.
  git checkout --quiet --detach "$former"
  cp -p .env.former .env
  drain
  say "stopping $former_version, keeping a copy of the queue ..."
  quietly docker compose stop || { tell_log; fail "it could not be stopped: the lines above, and $log, say why"; }
  format=$(format) copy=$PWD/backups/before-$version.db.gz
  if ! keep_copy "$copy"; then
    start "$workers" || true
    fail "the queue could not be copied into $copy (is the disk full?); $former_version runs as before"
  fi
  git checkout --quiet --detach "$1"
  mv .env.next .env
  start "$workers" || roll_back "$1" "$version" "$workers"
  rm .env.former
  enable_boot
  git update-ref refs/taskyard/deployed "$1"
  forget_versions "$version" "$former_version"
  say "$version runs with $workers workers, in the place of $former_version; the queue as it was before: $copy (make restore FROM=...)"
}

# All but these.
forget_versions() {
  local image
  for image in $(docker image ls --format '{{.Repository}}:{{.Tag}}' | grep -E '^taskyard/(master|worker|dashboard):[0-9a-f]{7,}$'); do
    [[ ${image#*:} == "$1" || ${image#*:} == "$2" ]] || quietly docker image rm "$image" || true
  done
  find backups -name '*.db.gz' -mtime +30 -delete
}

main() {
  local what=${1:-} commit deployed
  case "$what" in
    deploy | update | boot) ;;
    --help | -h) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) sed -n '5,7s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
  esac
  [[ $(id -u) == 0 ]] || fail "this needs root: sudo $0 $*" 77
  if [[ $what == boot ]]; then
    deploy/bootstrap.sh
    mapfile -t all < <(services)
    exec docker compose up --detach --no-build --wait "${all[@]}"
  fi
  exec 9>.deploying
  flock --nonblock 9 || fail "another deployment is under way here: 'tail -f $log' shows it" 75
  printf '== %s %s\n' "$(date -u +%FT%TZ)" "$*" >>"$log"
  commit=$(git rev-parse --verify --quiet "${2:-HEAD}^{commit}") || fail "there is no commit ${2:-HEAD} here" 66
  deployed=$(git rev-parse --verify --quiet refs/taskyard/deployed || true)
  [[ $what == deploy || -n $deployed ]] || fail "nothing is deployed here yet: deploy first (make deploy)" 66
  if [[ $what == update || ( -n $deployed && $deployed != "$commit" ) ]]; then
    prepare_docker
    update "$commit"
  else
    install "$commit"
  fi
}

# In one piece, since an update changes this file.
main "$@"
exit
