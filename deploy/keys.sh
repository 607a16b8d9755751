#!/usr/bin/env bash
# A key for each role, in keys/ (see compose.keys.yaml): deploy/keys.sh make | rotate ROLE | retire ROLE. A file holds a key a
# line: programs use the first, the master takes all of them. Files are changed in place, since containers see the file itself.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022
roles=(worker client admin)

usage() {
  echo "usage: deploy/keys.sh make | rotate ROLE | retire ROLE     (ROLE: ${roles[*]})" >&2
  exit 64
}

# FILE, its new content from the input: written beside it first, so that a full disk takes nothing from the one in use.
write() { cat >"$1.new" && cat "$1.new" >"$1" && rm "$1.new"; }

new_key() { head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

file_of() {
  [[ " ${roles[*]} " == *" ${1:-} "* ]] || usage
  [[ -s keys/$1 ]] || { echo "there is no keys/$1 yet: make keys" >&2; exit 66; }
  echo "keys/$1"
}

case "${1:-}" in
  make)
    # The folder keeps others on this host out; the files are read by the containers' own user.
    mkdir -p keys && chmod 700 keys
    for role in "${roles[@]}"; do
      if [[ ! -s keys/$role ]]; then
        printf '%s\n' "$(new_key)" >"keys/$role"
        echo "keys/$role: made"
      fi
    done
    echo "Next: COMPOSE_FILE=compose.yaml:compose.keys.yaml into .env, then make up."
    ;;
  rotate)
    file=$(file_of "${2:-}")
    older=$(cat "$file")
    printf '%s\n%s\n' "$(new_key)" "$older" | write "$file"
    echo "$file: a new key; the older ones stay valid. Give it to programs on other hosts, then: make retire-keys ROLE=$2"
    ;;
  retire)
    file=$(file_of "${2:-}")
    newest=$(grep -m 1 . "$file")
    printf '%s\n' "$newest" | write "$file"
    echo "$file: only the newest key is valid; connections made with others end."
    ;;
  *) usage ;;
esac
