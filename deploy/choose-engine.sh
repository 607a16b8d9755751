#!/usr/bin/env bash
# Chooses what keeps the queue, by what COMPOSE_FILE in .env names, so that every later command uses it too; other files named there
# stay. Usage: choose-engine.sh embedded | nats | nats-single
#   embedded      one master with its database (compose.yaml alone)
#   nats          three NATS servers keep the queue's log, any number of masters share it (compose.nats.yaml)
#   nats-single   one NATS server (compose.nats.single.yaml as well)
# TLS is a file of its own for each: compose.tls.yaml for embedded, compose.nats.tls.yaml for nats.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'choose-engine: %s\n' "$1" >&2; exit "${2:-1}"; }
# FILE WHAT: once the cluster is down, for it is known by these files.
refuse() { fail "COMPOSE_FILE in .env names $1, which can't be laid over this engine: 'make down', then $2; nothing was changed" 78; }

case "${1:-}" in
  embedded) files=compose.yaml ;;
  nats) files=compose.yaml:compose.nats.yaml ;;
  nats-single) files=compose.yaml:compose.nats.yaml:compose.nats.single.yaml ;;
  *) sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
esac
[[ -z ${COMPOSE_FILE:-} ]] || fail "COMPOSE_FILE is set in the environment, so that .env does not count: unset it, or name the files there"

before=$(grep -s '^COMPOSE_FILE=' .env | tail -n 1 | cut -d = -f 2- || true)
before=${before:-compose.yaml}
IFS=: read -ra named <<<"$before"
for file in "${named[@]}"; do
  case "$1:$file" in
    nats*:compose.tls.yaml) refuse "$file" "put compose.nats.tls.yaml in its place there" ;;
    embedded:compose.nats.tls.yaml) refuse "$file" "put compose.tls.yaml in its place there" ;;
    nats-single:compose.nats.tls.yaml) refuse "$file" "it is for three servers: take it out, or have ENGINE=nats" ;;
    *:compose.yaml | *:compose.nats.yaml | *:compose.nats.single.yaml) ;;
    *) files+=":$file" ;;
  esac
done
if [[ $files != "$before" ]]; then
  if [[ -n $(docker compose ps --quiet 2>/dev/null) ]]; then
    fail "the cluster runs with another engine ($before): first 'make down'. The tasks it has stay on its volumes"
  fi
  # Its owner and mode stay: there may be secrets in it.
  rm -f .env.new
  [[ ! -e .env ]] || cp -p .env .env.new
  { grep -v '^COMPOSE_FILE=' .env 2>/dev/null || true; echo "COMPOSE_FILE=$files"; } >.env.new
  mv .env.new .env
  echo "choose-engine: .env has COMPOSE_FILE=$files; all commands use it from now on" >&2
fi
