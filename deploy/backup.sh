#!/usr/bin/env bash
# Writes a copy of the cluster's queue, compressed, into FOLDER (build/backups), while it runs or while it does not.
# Usage: deploy/backup.sh [FOLDER]
#   deploy/backup.sh                     build/backups/taskyard-20260131-020000.db.gz
#   deploy/backup.sh /mnt/elsewhere      a backup on the same disk is none
# It has the tasks, their results and the schedules; not the keys, the dashboard's tokens, .env and certs/. With ENGINE=nats the
# NATS servers have to run: where no master does, they are started, and stay.
set -euo pipefail

fail() { printf 'backup: %s\n' "$*" >&2; exit 1; }

if [[ ${1:-} == -h || ${1:-} == --help ]]; then sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"; exit 0; fi
folder=$(realpath -m "${1:-build/backups}")
cd "$(dirname "$0")/.."
docker info >/dev/null 2>&1 || fail "the Docker engine does not answer: is it started, and may this user reach it?"
umask 077
mkdir -p "$folder" || fail "$folder can't be made"
path=$folder/taskyard-$(date +%Y%m%d-%H%M%S).db.gz
trap 'rm -f "$path.part"' EXIT

# In a master's container, which has the keys and is let in, and asks the one that leads; in one of its own where none runs.
if [[ -n $(docker compose ps --quiet --status running master) ]]; then
  inside=(exec -T master)
else
  inside=(run --rm -T --quiet-pull master)
fi
docker compose "${inside[@]}" python -m master backup >"$path.part" </dev/null || fail "no backup was made; the queue is as it was"
gzip --test "$path.part" || fail "what arrived is not whole: is the disk of $folder full?"
mv "$path.part" "$path"
printf 'backup: %s, %s compressed\n' "$path" "$(du -h "$path" | cut -f1)"
