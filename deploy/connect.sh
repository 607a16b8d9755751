#!/usr/bin/env bash
# Prints what lets programs on this host join the running cluster: eval "$(deploy/connect.sh)". The key goes into a file.
set -euo pipefail
cd "$(dirname "$0")/.."
address=$(docker compose port master 5000 2>/dev/null || true)
case "$address" in
  "" | :0)
    echo "the queue is not published: put COMPOSE_FILE=compose.yaml:compose.publish.yaml into .env, then make up" >&2
    exit 1
    ;;
esac
umask 077
# shellcheck disable=SC2016 # the container's variable
docker compose exec -T master sh -c 'echo "${TASKYARD_AUTHKEY:-$(cat /run/taskyard/authkey)}"' >.authkey
echo "export TASKYARD_URL=manager://$address TASKYARD_AUTHKEY_FILE=$PWD/.authkey"
