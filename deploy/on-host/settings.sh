# shellcheck shell=bash
# Sourced by deploy/on-host.sh: the settings, in .env. They may have secrets in them, so that nobody else reads a file of them at any moment.

setting() { sed -n "s/^$1=//p" .env 2>/dev/null | tail -n 1; }

set_setting() { # NAME VALUE
  (umask 077 && { grep -v "^$1=" .env 2>/dev/null || true; echo "$1=$2"; } >.env.new)
  mv .env.new .env
}

# What was brought along becomes .env. Of the former one stays what was chosen here, unless something else is said now.
take_settings() {
  local given
  [[ -e .env.given ]] || return 0
  given=$(sed -n 's/^WORKERS=//p' .env.given | tail -n 1)
  WORKERS=${WORKERS:-$given}
  [[ -e .env ]] || install -m 0600 /dev/null .env
  (umask 077 && awk -F = '
    FILENAME == ".env.given" { if ($1 != "TASKYARD_VERSION") { said[$1]; print }; next }
    /^(TASKYARD_VERSION|[A-Z]+_IMAGE)=/ && !($1 in said)' .env.given .env >.env.new)
  mv .env.new .env
  rm .env.given
}
