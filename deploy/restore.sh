#!/usr/bin/env bash
# Puts a backup (deploy/backup.sh) in the place of the cluster's queue. The master is stopped meanwhile; workers and clients wait
# for it. A file that is damaged, or of a newer release, is refused; the former queue is kept beside on the volume.
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
back() {
  [[ -n $was_running ]] || return 0
  echo "restore: starting the master ..."
  docker compose up --detach --no-recreate --no-deps --wait master || fail "the master does not get well: docker compose logs master"
}
trap back EXIT

if [[ -n $was_running ]]; then
  echo "restore: stopping the master ..."
  docker compose stop master
fi
docker compose run --rm -T --no-deps --quiet-pull master python -m master restore <"$file" || fail "nothing was changed"
