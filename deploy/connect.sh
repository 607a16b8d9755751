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
docker compose exec -T master sh -c 'echo "${TASKYARD_AUTHKEY:-$(cat /run/secrets/taskyard_client_key 2>/dev/null || cat /run/taskyard/authkey)}"' >.authkey
address=${address/#0.0.0.0:/127.0.0.1:}
# shellcheck disable=SC2016 # the container's variable
if docker compose exec -T master sh -c 'test -n "$MASTER_TLS_CERT"'; then
  url=managers://$address
  files=$(printf ' TASKYARD_TLS_%s=%q' CA "$PWD/certs/ca.pem" CERT "$PWD/certs/client.pem" KEY "$PWD/certs/client.key")
fi
printf 'export TASKYARD_URL=%s TASKYARD_AUTHKEY_FILE=%q%s\n' "${url:-manager://$address}" "$PWD/.authkey" "${files:-}"
