#!/usr/bin/env bash
# What is done on a machine that Taskyard is deployed to, as root, in the clone that this file is part of: by deploy/deploy.sh over ssh, by
# deploy/cloud-init.yaml at the first boot, by deploy/taskyard.service at every boot; by hand just as well.
#
#   deploy/on-host.sh deploy [COMMIT]     from nothing to results: Docker, images, start, smoke test; from another version: update
#   deploy/on-host.sh update [COMMIT]     build beside what runs, drain, keep a copy of the queue, roll; back again if it does not get healthy
#   deploy/on-host.sh boot                start what is deployed; an update that was cut off is undone
#
# COMMIT is HEAD if it is not said. Settings: see deploy/deploy.sh --help. Its log is deploy.log in that folder.
set -euo pipefail
cd "$(dirname "$0")/.."
# A connection that is lost ends nothing halfway: what was begun comes to its end, well or rolled back.
trap '' PIPE HUP

log=$PWD/deploy.log
smoke=${SMOKE-square 12}
expected=${SMOKE_EXPECTS-12 * 12 = 144}
smoke_seconds=${SMOKE_SECONDS:-60}
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
version_of() { git rev-parse --short=7 "$1"; }

source deploy/on-host/settings.sh
source deploy/on-host/running.sh
source deploy/on-host/update.sh

prepare_docker() {
  say "checking Docker, installing it where it is missing ..."
  quietly deploy/bootstrap.sh || { tell_log; fail "Docker can't be had: the lines above, and $log, say why"; }
}

# VERSION: of the sources that are checked out.
build() {
  say "choosing base images ..."
  quietly deploy/choose-images.sh || { tell_log; return 1; }
  say "building the images $1 ..."
  TASKYARD_VERSION=$1 quietly docker compose --progress plain build || { tell_log; return 1; }
}

install_version() { # COMMIT
  local version
  version=$(version_of "$1")
  git checkout --quiet --detach "$1"
  take_settings
  build "$version" || fail "the images can't be built: the lines above, and $log, say why"
  set_setting TASKYARD_VERSION "$version"
  set_setting WORKERS "$(workers_now)"
  if ! start "$(setting WORKERS)"; then
    tell_unwell
    fail "it did not get healthy within $wait_seconds s: the lines above, and $log, say why; try again when that is mended"
  fi
  git update-ref refs/taskyard/deployed "$1"
  say "$version runs with $(setting WORKERS) workers"
}

# The last that is done: the unit starts `boot` at once, which needs the lock.
enable_boot() {
  exec 9>&-
  if [[ -d /run/systemd/system ]]; then
    sed "s|/opt/taskyard|$PWD|g" deploy/taskyard.service >/etc/systemd/system/taskyard.service
    if ! { quietly systemctl daemon-reload && quietly systemctl enable --now taskyard.service; }; then
      tell_log
      fail "it runs, but taskyard.service can't be enabled, so that no boot starts it: see 'systemctl status taskyard'"
    fi
    say "taskyard.service starts it at every boot"
  else
    say "no systemd here: Docker's restart policies start it again, once the engine runs"
  fi
}

boot() {
  local all
  deploy/bootstrap.sh
  if ! lock; then
    say "a deployment is under way here, and starts what there is to start"
    return
  fi
  undo_interrupted
  mapfile -t all < <(services)
  docker compose up --detach --no-build --wait "${all[@]}" 9>&-
}

lock() {
  exec 9>.deploying
  flock --nonblock 9
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
    boot
    exit
  fi
  lock || fail "another deployment is under way here: 'tail -f $log' shows it" 75
  printf '== %s %s\n' "$(date -u +%FT%TZ)" "$*" >>"$log"
  commit=$(git rev-parse --verify --quiet "${2:-HEAD}^{commit}") || fail "there is no commit ${2:-HEAD} here" 66
  deployed=$(git rev-parse --verify --quiet refs/taskyard/deployed || true)
  [[ $what == deploy || -n $deployed ]] || fail "nothing is deployed here yet: deploy first (make deploy)" 66
  prepare_docker
  undo_interrupted
  if [[ $what == update || ( -n $deployed && $deployed != "$commit" ) ]]; then
    update "$commit"
  else
    install_version "$commit"
  fi
  enable_boot
}

# In one piece, since an update changes this file, and those that it has read.
main "$@"
exit
