#!/usr/bin/env bash
# Installs the Chromium with which the tests look at the dashboard, and a library that Playwright's driver needs, where they are
# missing: Debian's packages, as root. Usage: browser.sh
set -euo pipefail

# A system without ldconfig, or with another libc, is left to itself.
has_libatomic() { ! command -v ldconfig >/dev/null || ldconfig -p | grep -F libatomic.so.1 >/dev/null; }

if command -v chromium >/dev/null && has_libatomic; then exit 0; fi
if ! command -v apt-get >/dev/null; then
  echo "browser: no 'chromium' is in PATH, or no libatomic.so.1 is there, and this is no Debian or Ubuntu; install Chromium and libatomic with this system's own tool" >&2
  exit 1
fi
if [[ $(id -u) -ne 0 ]]; then
  echo "browser: no 'chromium' is in PATH, or no libatomic.so.1 is there; run 'sudo deploy/browser.sh' once" >&2
  exit 1
fi
echo "browser: installing Debian's chromium for the tests of the dashboard ..." >&2
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
apt-get install -y -q --no-install-recommends chromium fonts-dejavu-core libatomic1 >&2
if ! command -v chromium >/dev/null; then # Ubuntu's package of that name only leads to a snap
  echo "browser: the package chromium brought no 'chromium'; on Ubuntu put one into PATH (snap install chromium)" >&2
  exit 1
fi
