#!/usr/bin/env bash
# Installs the Chromium with which the tests look at the dashboard, where there is none: Debian's package, as root.
# Does nothing where it is there already. Usage: browser.sh
set -euo pipefail

command -v chromium >/dev/null && exit 0
if ! command -v apt-get >/dev/null; then
  echo "browser: no 'chromium' is in PATH and this is no Debian or Ubuntu; install Chromium with this system's own tool" >&2
  exit 1
fi
if [[ $(id -u) -ne 0 ]]; then
  echo "browser: no 'chromium' is in PATH; run 'sudo deploy/browser.sh' once" >&2
  exit 1
fi
echo "browser: installing Debian's chromium for the tests of the dashboard ..." >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core >&2
if ! command -v chromium >/dev/null; then # Ubuntu's package of that name only leads to a snap
  echo "browser: the package chromium brought no 'chromium'; on Ubuntu put one into PATH (snap install chromium)" >&2
  exit 1
fi
