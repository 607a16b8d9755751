#!/usr/bin/env bash
# Makes a virtual environment, by default the one that the tests and checks run in. Usage: python-env.sh FOLDER [REQUIREMENTS]
set -euo pipefail

fail() { printf 'python-env: %s\n' "$*" >&2; exit 1; }
suits() { python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && python3 -c 'import ensurepip' 2>/dev/null; }

folder=$1
requirements=${2:-requirements/dev.txt}
missing="this needs Python 3.11 or newer with its venv module (Debian: python3-venv)"
if ! suits; then
  [[ $(id -u) -eq 0 ]] || fail "$missing"
  command -v apt-get >/dev/null || fail "$missing"
  apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends python3 python3-venv ca-certificates >&2
  suits || fail "this system's Python is $(python3 --version 2>&1); 3.11 or newer is needed"
fi
python3 -m venv --clear "$folder"
"$folder/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$requirements"
