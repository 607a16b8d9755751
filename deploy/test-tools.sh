#!/usr/bin/env bash
# Installs what the tests need of the system, where it is missing: a Chromium to look at the dashboard, a library for Playwright's
# driver, ssh to deploy over, ip to make hosts of a Swarm. Debian's packages, as root. Usage: test-tools.sh
set -euo pipefail

missing=()
command -v chromium >/dev/null || missing+=(chromium fonts-dejavu-core)
command -v ssh >/dev/null || missing+=(openssh-client)
command -v ip >/dev/null || missing+=(iproute2)
# A system without ldconfig, or with another libc, is left to itself.
if command -v ldconfig >/dev/null && ! ldconfig -p | grep -F libatomic.so.1 >/dev/null; then missing+=(libatomic1); fi
if ((${#missing[@]} == 0)); then exit 0; fi
if ! command -v apt-get >/dev/null; then
  echo "test-tools: missing: ${missing[*]} (Debian's names), and this is no Debian or Ubuntu; install them with this system's own tool" >&2
  exit 1
fi
if [[ $(id -u) -ne 0 ]]; then
  echo "test-tools: missing: ${missing[*]}; run 'sudo deploy/test-tools.sh' once" >&2
  exit 1
fi
echo "test-tools: installing ${missing[*]} for the tests ..." >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
apt-get install -y -q --no-install-recommends "${missing[@]}" >&2
if ! command -v chromium >/dev/null; then # Ubuntu's package of that name only leads to a snap
  echo "test-tools: the package chromium brought no 'chromium'; on Ubuntu put one into PATH (snap install chromium)" >&2
  exit 1
fi
