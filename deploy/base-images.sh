#!/usr/bin/env bash
# Where no image registry answers: builds the images that everything else starts from out of Debian's packages, and prints
# the settings that select them, one NAME=value a line. Prints nothing where the default image is there already or can be
# pulled. Usage: base-images.sh [monitoring] [nats]: Prometheus and the NATS server beside Python.
set -euo pipefail

default_image=python:3.13-slim
built_image=taskyard/python:trixie
default_prometheus=prom/prometheus:v3.5.0
built_prometheus=taskyard/prometheus:trixie
default_nats=nats:2.10-alpine
built_nats=taskyard/nats-server:trixie

have() { docker image inspect "$1" >/dev/null 2>&1; }
can_have() { have "$1" || timeout 120 docker pull -q "$1" >/dev/null 2>&1; }

build_python_image() {
  [[ $(id -u) -eq 0 ]] || { echo "base-images: no image registry answers, and building $built_image from Debian's packages needs root" >&2; exit 1; }
  echo "base-images: no image registry answers; building $built_image from Debian's packages (about a minute) ..." >&2
  command -v debootstrap >/dev/null || { apt-get update -q && apt-get install -y -q --no-install-recommends debootstrap; } >&2
  local root mirrors mirror
  # shellcheck disable=SC2016  # the format is apt's, not the shell's
  mirrors=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep -v security | sort -u)
  mirror=${mirrors%%$'\n'*}
  root=$(mktemp -d)
  # shellcheck disable=SC2064  # the folder of now
  trap "rm -rf '$root'" EXIT
  debootstrap --variant=minbase --include=python3,python3-venv,python3-pip,ca-certificates trixie "$root" "$mirror" >&2
  rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/* "$root"/usr/lib/python3.*/EXTERNALLY-MANAGED
  ln -sf ../../bin/python3 "$root/usr/local/bin/python"
  # the host's trust store, so that a host behind a TLS-inspecting proxy can build too
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
  tar -C "$root" -c . | docker import -c 'CMD ["python3"]' -c 'ENV PIP_DISABLE_PIP_VERSION_CHECK=1' - "$built_image" >&2
}

# IMAGE: made of what the input says, on top of Python's image, whose layers every host has anyway.
build_from_packages() {
  echo "base-images: no image registry answers; building $1 from Debian's packages ..." >&2
  local base=$default_image
  if have "$built_image"; then base=$built_image; fi
  # shellcheck disable=SC2016  # the variable is Docker's
  { printf 'ARG BASE\nFROM ${BASE}\n'; cat; } | docker build --quiet --tag "$1" --build-arg "BASE=$base" - >/dev/null
}

# The official image's entrypoint and user, so that compose.yaml need not know which of them it has.
build_prometheus_image() {
  build_from_packages "$built_prometheus" <<'EOF'
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends prometheus \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* && install -d -o nobody /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
EOF
}

# With wget, which the official image has too. Nothing lends rights, as in the images of master and worker.
build_nats_image() {
  build_from_packages "$built_nats" <<'EOF'
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends nats-server wget \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && find / -xdev -type f -perm /6000 -exec chmod ug-s {} + \
    && find / -xdev -perm -0002 ! -type l ! -path /tmp -exec chmod o-w {} +
USER 10001:10001
EOF
}

# SETTING, DEFAULT, BUILT, and how that is built: says which of the two images there is to be.
choose() {
  if have "$3" || ! can_have "$2"; then
    have "$3" || "$4"
    echo "$1=$3"
  fi
}

choose PYTHON_IMAGE "$default_image" "$built_image" build_python_image
for what in "$@"; do
  case "$what" in
    monitoring) choose PROMETHEUS_IMAGE "$default_prometheus" "$built_prometheus" build_prometheus_image ;;
    nats) choose NATS_IMAGE "$default_nats" "$built_nats" build_nats_image ;;
    *)
      echo "base-images: there is no image for '$what'; usage: base-images.sh [monitoring] [nats]" >&2
      exit 64
      ;;
  esac
done
