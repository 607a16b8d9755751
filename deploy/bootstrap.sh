#!/usr/bin/env bash
# Makes a Debian or Ubuntu host able to run `docker compose`: engine, Compose v2, BuildKit.
# Does nothing where they already answer; without root it says what is missing and stops.
# Starts the engine with or without systemd.
set -euo pipefail

fail() { printf 'bootstrap: %s\n' "$*" >&2; exit 1; }
engine_answers() { docker info >/dev/null 2>&1; }
# Old Compose releases cannot read the settings that compose.yaml uses (start_interval, develop, !reset).
compose_answers() { docker compose version --short 2>/dev/null | grep -E '^v?(2\.2[4-9]|2\.[3-9][0-9]|[3-9]|[1-9][0-9])' >/dev/null; }
buildx_answers() { docker buildx version >/dev/null 2>&1; }
ready() { engine_answers && compose_answers && buildx_answers; }

say_what_is_missing() {
  command -v docker >/dev/null || echo "  - docker: not installed"
  engine_answers || echo "  - the Docker engine does not answer (is it started, may this user reach it: 'sudo usermod -aG docker $(id -un)'?)"
  compose_answers || echo "  - the Compose plugin, 2.24 or newer ('docker compose version')"
  buildx_answers || echo "  - the buildx plugin ('docker buildx version')"
}

# Debian 12 has no Compose v2 of its own; the next release's package runs there unchanged,
# so its suite is added at a priority too low to upgrade anything else.
add_next_suite() {
  local mirrors mirror
  # shellcheck disable=SC2016  # the format is apt's, not the shell's
  mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sort -u)
  mirror=${mirrors%%$'\n'*}
  printf 'Types: deb\nURIs: %s\nSuites: trixie\nComponents: main\nSigned-By: /usr/share/keyrings/debian-archive-keyring.gpg\n' \
    "$mirror" >/etc/apt/sources.list.d/taskyard-compose.sources
  printf 'Package: *\nPin: release n=trixie\nPin-Priority: 50\n' >/etc/apt/preferences.d/taskyard-compose
  apt-get update -q
}

install_engine() {
  local policy
  export DEBIAN_FRONTEND=noninteractive
  command -v apt-get >/dev/null || fail "this host has no apt-get: install Docker with Compose 2.24 or newer yourself, then try again"
  apt-get update -q
  apt-get install -y -q --no-install-recommends docker.io iptables ca-certificates
  # Kept in a variable: `apt-cache policy | grep -q` fails now and then under pipefail, when grep closes the pipe first.
  policy=$(apt-cache policy docker-compose)
  if [[ $policy == *"Candidate: 1."* ]]; then
    add_next_suite
    apt-get install -y -q --no-install-recommends docker-compose/trixie docker-buildx/trixie
  else
    apt-get install -y -q --no-install-recommends docker-cli docker-compose docker-buildx
  fi
}

# A killed engine leaves pid files; the number may be a zombie's by now, or somebody else's, and the engine would wait for it.
forget_dead() {
  local pid
  [[ -f $1 ]] || return 0
  pid=$(<"$1")
  if ! { grep -qs "$2" "/proc/$pid/comm" && grep -qs $'^State:\t[^Z]' "/proc/$pid/status"; }; then rm -f "$1"; fi
}

launch_engine() {
  forget_dead /var/run/docker.pid dockerd
  forget_dead /var/run/docker/containerd/containerd.pid containerd
  setsid dockerd >/var/log/dockerd.log 2>&1 </dev/null &
  engine=$!
}

start_engine() {
  engine_answers && return
  if [[ -d /run/systemd/system ]]; then
    systemctl enable --now docker
  else
    launch_engine
  fi
  for _ in $(seq 60); do
    engine_answers && return
    sleep 1
    # It ends at once where an earlier one is just shutting down.
    [[ -d /run/systemd/system ]] || kill -0 "$engine" 2>/dev/null || launch_engine
  done
  fail "the Docker engine did not start: see /var/log/dockerd.log or 'journalctl -u docker'"
}

ready && exit 0
if [[ $(id -u) -ne 0 ]]; then
  { echo "bootstrap: this host cannot run the cluster yet:"; say_what_is_missing; echo "Run 'sudo make up', or install them and try again."; } >&2
  exit 1
fi
if ! command -v dockerd >/dev/null || ! compose_answers || ! buildx_answers; then install_engine >&2; fi
start_engine
ready || { say_what_is_missing >&2; fail "the engine was installed, but something is still missing"; }
