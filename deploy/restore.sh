#!/usr/bin/env bash
# Puts a backup (deploy/backup.sh) in the place of the cluster's queue; workers and clients wait meanwhile. A single master is stopped for
# it; with ENGINE=nats all masters go on, with that queue from then on, and the NATS servers have to run: where no master does, they are
# started, and stay. A file that is damaged, or of a newer release, is refused; the former queue is kept on the master's volume.
# Usage: deploy/restore.sh FILE
#   deploy/restore.sh build/backups/taskyard-20260131-020000.db.gz
set -euo pipefail

fail() { printf 'restore: %s\n' "$*" >&2; exit 1; }
usage() { sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"; }

case ${1:-} in
  -h | --help) usage; exit 0 ;;
  "") usage >&2; exit 2 ;;
esac
[[ -r $1 ]] || fail "$1 can't be read"
file=$(realpath "$1")
cd "$(dirname "$0")/.."
docker info >/dev/null 2>&1 || fail "the Docker engine does not answer: is it started, and may this user reach it?"
gzip --test "$file" 2>/dev/null || fail "$file is damaged, or no backup; nothing was changed"

was_running=$(docker compose ps --quiet --status running master)
inside=(run --rm -T --quiet-pull master)
if [[ -n $was_running ]] && docker compose config --services | grep -x nats1 >/dev/null; then
  inside=(exec -T master)
  echo "restore: handing it to the masters ..."
elif [[ -n $was_running ]]; then
  back() {
    echo "restore: starting the master ..."
    docker compose up --detach --no-recreate --no-deps --wait master || fail "the master does not get well: docker compose logs master"
  }
  trap back EXIT
  echo "restore: stopping the master ..."
  docker compose stop master
fi
docker compose "${inside[@]}" python -m master restore <"$file" || fail "it was not restored: the line above says why"
echo "restore: 'make verify' checks it"
