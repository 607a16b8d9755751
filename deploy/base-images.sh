#!/usr/bin/env bash
# Where no image registry answers: builds the images that everything else starts from out of Debian's packages, and prints
# the settings that select them, one NAME=value a line. Prints nothing where the default image is there already or can be
# pulled. Usage: base-images.sh [monitoring], which means Prometheus beside Python.
set -euo pipefail

default_image=python:3.13-slim
built_image=taskyard/python:trixie
default_prometheus=prom/prometheus:v3.5.0
built_prometheus=taskyard/prometheus:trixie

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

# The official image's entrypoint and user, so that compose.yaml need not know which of them it has.
build_prometheus_image() {
  echo "base-images: no image registry answers; building $built_prometheus from Debian's packages ..." >&2
  local base=$default_image
  if have "$built_image"; then base=$built_image; fi
  docker build --quiet --tag "$built_prometheus" --build-arg "BASE=$base" - >/dev/null <<'EOF'
ARG BASE
FROM ${BASE}
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends prometheus \
    && rm -rf /var/lib/apt/lists/* && install -d -o nobody /prometheus
USER nobody
ENTRYPOINT ["prometheus"]
EOF
}

if have "$built_image" || ! can_have "$default_image"; then
  have "$built_image" || build_python_image
  echo "PYTHON_IMAGE=$built_image"
fi
if [[ ${1:-} == monitoring ]]; then
  if have "$built_prometheus" || ! can_have "$default_prometheus"; then
    have "$built_prometheus" || build_prometheus_image
    echo "PROMETHEUS_IMAGE=$built_prometheus"
  fi
fi
