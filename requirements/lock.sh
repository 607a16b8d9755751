#!/usr/bin/env bash
# Locks requirements/*.in with hashes, for every Python from 3.11 on and without index lines.
set -euo pipefail
cd "$(dirname "$0")"
for name in master worker dashboard smtp dev bench peers arq audit; do
  # Only the package's own index: a host's extra links would leak into the lock.
  env -u PIP_FIND_LINKS -u UV_FIND_LINKS uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --upgrade \
    --no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock' "$name.in" --output-file "$name.txt"
done
