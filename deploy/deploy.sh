#!/usr/bin/env bash
# Brings the sources committed here to a machine with Debian or Ubuntu, over ssh, and Taskyard there from nothing to results: installs
# Docker where there is none, builds the images there, starts, waits until all is healthy, and has a task run. Run again, it brings
# what has been committed since. The machine needs sshd, and root or a user who may sudo without a password.
#
#   deploy/deploy.sh user@vm              from nothing, or from whatever version is there
#   deploy/deploy.sh update user@vm       only where there is a version already: drain, roll, and back if the new one does not get healthy
#
# Settings: ENV            a file of settings as .env.example has them, to become the .env there; without it the one there stays
#           SSH            ssh, with options if need be: SSH="ssh -p 2222 -i key"
#           WORKERS        how many workers; without it as many as there are, at first 2
#           SMOKE          square 12: the task, and its arguments, that is to show that all is well; empty: none
#           SMOKE_EXPECTS  12 * 12 = 144: what it returns       SMOKE_SECONDS  60, within which it has to
#           WAIT_SECONDS   180, for all to get healthy          DRAIN_SECONDS  60, for workers to finish what they run
#           ROOM_MB        3000, which have to be free there
# Examples: make deploy HOST=root@203.0.113.7
#           make deploy HOST=debian@vm ENV=production.env WORKERS=8
#           make deploy-update HOST=debian@vm SMOKE="my_task 7" SMOKE_EXPECTS=fine
set -euo pipefail
cd "$(dirname "$0")/.."

folder=/opt/taskyard
room_mb=${ROOM_MB:-3000}

say() { printf 'deploy: %s\n' "$*" >&2; }
fail() { say "$1"; exit "${2:-1}"; }
remote() { "${ssh[@]}" "$host" "$1"; }
# Quoted as any shell understands, whichever that user has.
as_root() {
  local quote="'\\''"
  remote "${sudo}bash -c '${1//"'"/"$quote"}'"
}

open_way() {
  local sockets options
  sockets=$(mktemp -d)
  read -ra ssh <<<"${SSH:-ssh}"
  # One connection for all that follows: one question for a password, if any.
  options=(-o ConnectTimeout=10 -o ServerAliveInterval=15 -o ControlMaster=auto -o "ControlPath=$sockets/%C" -o ControlPersist=60)
  ssh+=("${options[@]}")
  # shellcheck disable=SC2064  # the folder of now
  trap "${ssh[*]@Q} -O exit ${host@Q} 2>/dev/null || true; rm -rf '$sockets'" EXIT
  trap 'say "interrupted; what $host has begun it brings to its end (its log: $folder/deploy.log)"; exit 130' INT
  remote true || fail "can't log in at $host: does 'ssh $host' work, with a key? (other options: SSH=\"ssh -p 2222 -i key\")" 69
  sudo=""
  if [[ $(remote id -u) != 0 ]]; then
    sudo="sudo -n "
    remote "sudo -n true" 2>/dev/null || fail "the user at $host is not root and may not sudo without a password: log in as root, or allow it there" 77
  fi
}

check_host() {
  local free
  remote "command -v apt-get >/dev/null" || fail "$host has no apt-get: this needs Debian or Ubuntu" 78
  free=$(remote "df -Pm /var/lib | awk 'END { print \$4 }'")
  [[ $what == deploy ]] || as_root "git -C $folder rev-parse --verify --quiet refs/taskyard/deployed" >/dev/null 2>&1 \
    || fail "nothing is deployed at $host yet: make deploy HOST=$host" 66
  ((free >= room_mb)) || fail "$host has $free MB free under /var/lib, $room_mb are needed: make room there" 74
}

bring_sources() {
  local commit
  commit=$(git rev-parse HEAD 2>/dev/null) || fail "nothing is committed here: this deploys what git has" 66
  [[ -z $(git status --porcelain --untracked-files=no) ]] || say "note: what is not committed stays here"
  say "bringing $(git log -1 --format='%h "%s"') to $host ..."
  as_root "set -e
    if ! command -v git >/dev/null || ! command -v make >/dev/null; then
      apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends git make
    fi >/var/log/taskyard-git.log 2>&1 || { tail -n 5 /var/log/taskyard-git.log >&2; exit 1; }
    install -d -m 0750 '$folder'
    git init --quiet '$folder'
    git -C '$folder' config receive.shallowUpdate true" || fail "git and make could not be installed at $host: the lines above say why; does 'apt-get update' work there?"
  GIT_SSH_COMMAND="${ssh[*]@Q}" git push --quiet --force --receive-pack="${sudo}git-receive-pack" "$host:$folder" "$commit:refs/taskyard/next" \
    || fail "the sources could not be brought to $host:$folder"
  # The version that runs is the one that updates, so that a bad one can't also break the way back.
  as_root "cd '$folder'; git rev-parse --verify --quiet refs/taskyard/deployed >/dev/null || git checkout --quiet --detach refs/taskyard/next"
  if [[ -n ${ENV:-} ]]; then
    as_root "umask 077; cat >'$folder/.env.given'" <"$ENV"
  fi
}

# What of the settings is said goes along.
settings() {
  local name
  for name in WORKERS SMOKE SMOKE_EXPECTS SMOKE_SECONDS WAIT_SECONDS DRAIN_SECONDS; do
    [[ -z ${!name+x} ]] || printf '%s=%q ' "$name" "${!name}"
  done
}

what=deploy
if [[ ${1:-} == update ]]; then
  what=update
  shift
fi
host=${1:-}
case "$host" in
  --help | -h) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
  "" | -*) fail "which machine? make $([[ $what == update ]] && echo deploy-update || echo deploy) HOST=user@vm (more: deploy/deploy.sh --help)" 64 ;;
esac
[[ -z ${ENV:-} || -r ${ENV:-} ]] || fail "there is no file $ENV to take the settings from" 66
say "logging in at $host ..."
open_way
check_host
bring_sources
as_root "$(settings)$folder/deploy/on-host.sh $what refs/taskyard/next" || exit
port=$(as_root "sed -n 's/^DASHBOARD_PORT=//p' $folder/.env 2>/dev/null | tail -n 1")
port=${port:-8080}
say "The dashboard: ssh -L $port:127.0.0.1:$port $host, and then in a browser here:"
as_root "cd $folder && docker compose exec -T dashboard python -m dashboard link"
