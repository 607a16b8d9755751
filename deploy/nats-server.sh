#!/usr/bin/env bash
# Lets the tests and measurements start NATS servers as plain processes: puts build/nats/nats-server there, out of the image that
# Compose uses, unless a nats-server from 2.10 on is in PATH. Usage: nats-server.sh
set -euo pipefail
cd "$(dirname "$0")/.."

fail() { printf 'nats-server: %s\n' "$1" >&2; exit 1; }
is_new() { [[ $("$1" --version 2>/dev/null) =~ v?2\.([0-9]+)\. && ${BASH_REMATCH[1]} -ge 10 ]]; }

if is_new nats-server || is_new build/nats/nats-server; then exit 0; fi
deploy/choose-images.sh nats
image=$(sed -n 's/^NATS_IMAGE=//p' .env 2>/dev/null | tail -n 1)
image=${NATS_IMAGE:-${image:-nats:2.10-alpine}}
container=$(docker create "$image")
trap 'docker rm "$container" >/dev/null' EXIT
mkdir -p build/nats
for path in /usr/local/bin/nats-server /usr/sbin/nats-server /usr/bin/nats-server /nats-server; do
  if docker cp --follow-link "$container:$path" build/nats/nats-server 2>/dev/null; then break; fi
done
is_new build/nats/nats-server || fail "the image $image has no nats-server from 2.10 on that runs on this host; put one into PATH"
echo "nats-server: $(build/nats/nats-server --version) is in build/nats" >&2
