#!/bin/sh
# Starts a server of NATS, as the image's entrypoint. Settings: NATS_NAME, this server's name in the network, and NATS_SERVERS, the
# names of all with a space between them; NATS_DISK, what its files may take, such as 16GB; NATS_SYNC, always or a time such as 10s.
# Passwords of the users master, client and route come from /run/secrets/taskyard_nats_*; where none is there, from the
# volumes at /run/taskyard-nats, which all programs have, and /run/taskyard-nats-master: the first server to start makes them.
set -eu

fail() { echo "start-nats: $1" >&2; exit 78; }

# A hard link is made whole or not at all, and never over another: servers that start together agree on the first one's.
make_password() {
  fresh=$(mktemp "$1.XXXXXX") || fail "$1 can't be made: is the volume there, may uid $(id -u) write to it?"
  head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n' >"$fresh"
  chmod 0640 "$fresh"
  sync
  ln "$fresh" "$1" 2>/dev/null && echo "start-nats: made $1" >&2
  rm -f "$fresh"
}

# In quotes, since nats-server would take some for numbers, and without what would end them or a route's URL.
password_of() {
  file=/run/secrets/taskyard_nats_$1
  if [ ! -e "$file" ]; then
    file=/run/taskyard-nats-master/$1
    if [ "$1" = client ]; then file=/run/taskyard-nats/client; fi
    [ -e "$file" ] || make_password "$file"
  fi
  read -r password <"$file" || [ -n "${password:-}" ] || fail "$file is empty"
  case $password in
    *[!A-Za-z0-9_-]*) fail "$file: a password may have letters, digits, - and _ only" ;;
  esac
  printf '"%s"' "$password"
}

NATS_NAME=${NATS_NAME:-nats1}
NATS_SERVERS=${NATS_SERVERS:-$NATS_NAME}
NATS_DISK=${NATS_DISK:-16GB}
NATS_SYNC=${NATS_SYNC:-always}
NATS_MASTER_PASSWORD=$(password_of master)
NATS_CLIENT_PASSWORD=$(password_of client)
NATS_ROUTE_PASSWORD=$(password_of route)
route=${NATS_ROUTE_PASSWORD#\"}
NATS_ROUTES=""
# With a route to itself, which comes to nothing: a cluster that begins takes the number of routes for its size, and with one too
# few the third server may stay out of it for good.
for server in $NATS_SERVERS; do
  NATS_ROUTES="$NATS_ROUTES${NATS_ROUTES:+, }nats://route:${route%\"}@$server:6222"
done
configuration=cluster.conf
if [ "$NATS_SERVERS" = "$NATS_NAME" ]; then configuration=server.conf; fi
# After one start of nats-server 2.10 in a hundred or so, on a busy host, the others hear nothing that it says of its copies: what
# sends that begins before it is told as whom. Where Go has one processor it hardly ever can. 2.11 has that mended.
version=$(nats-server --version)
case "$configuration $version" in
  "cluster.conf "*v2.10.*) export GOMAXPROCS="${GOMAXPROCS:-1}" ;;
esac
NATS_ROUTES="[$NATS_ROUTES]"
export NATS_NAME NATS_DISK NATS_SYNC NATS_MASTER_PASSWORD NATS_CLIENT_PASSWORD NATS_ROUTE_PASSWORD NATS_ROUTES
exec nats-server --config "/etc/taskyard-nats/$configuration" "$@"
