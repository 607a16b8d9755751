#!/usr/bin/env bash
# Where no image registry answers: builds the base image that the Dockerfiles start from out of
# Debian's packages (debootstrap), and prints the settings that select it, one NAME=value a line.
# Prints nothing where the default image is there already or can be pulled.
set -euo pipefail

default_image=python:3.13-slim
built_image=taskyard/python:trixie

have() { docker image inspect "$1" >/dev/null 2>&1; }

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

if have "$built_image"; then echo "PYTHON_IMAGE=$built_image"; exit 0; fi
if have "$default_image" || timeout 120 docker pull -q "$default_image" >/dev/null 2>&1; then exit 0; fi
build_python_image
echo "PYTHON_IMAGE=$built_image"
