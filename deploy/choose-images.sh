#!/usr/bin/env bash
# Writes into .env which base images to use, where the default ones can't be had; what stands there already stays.
# Usage: choose-images.sh [monitoring] [nats]; nats goes without saying where COMPOSE_FILE in .env names compose.nats.yaml.
set -euo pipefail
cd "$(dirname "$0")/.."
if [[ $(sed -n 's/^COMPOSE_FILE=//p' .env 2>/dev/null | tail -n 1) == *compose.nats.yaml* ]]; then set -- "$@" nats; fi
chosen=$(deploy/base-images.sh "$@")
while IFS= read -r line; do
  [[ -n $line ]] || continue
  if ! grep -qs "^${line%%=*}=" .env; then
    echo "$line" >>.env
    echo "choose-images: wrote $line to .env" >&2
  fi
done <<<"$chosen"
