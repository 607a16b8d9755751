#!/bin/sh
# Whether this server of NATS serves, as the image's health check. Not whether it has met the others: one that has lost them is not
# to be started anew for that. But once, at its cluster's first start, it is: of servers that start within the same tenth of a
# second, one stays out of JetStream's cluster for good now and then (one start in 40, nats-server 2.10.27), connected to all, until
# somebody starts it again. Nobody can tell which one it is, so those that don't lead end one after the other, until all belong to
# it.
set -eu

ask() { wget -q -T 3 -O - "http://127.0.0.1:8222$1"; }
number_in() { echo "$2" | sed -n "s/^ *\"$1\": \([0-9]*\).*/\1/p" | grep . || echo 0; }

ask "/healthz?js-enabled-only=true" >/dev/null
# Looks at a cluster that is not whole; gone over to `joined` once it was, in two looks running.
looks=/data/first-looks starts=/data/first-starts whole=/data/first-whole joined=/data/joined
servers=0 place=0
for server in ${NATS_SERVERS:-}; do
  servers=$((servers + 1))
  if [ "$server" = "$NATS_NAME" ]; then place=$servers; fi
done
if [ "$servers" -lt 2 ] || [ -e "$joined" ]; then exit 0; fi
cluster=$(ask /jsz)
# While nobody leads, the size is what is to become of it; and who does not see all servers yet knows nothing of theirs.
if ! echo "$cluster" | grep -q '"leader": "' || [ "$(number_in num_routes "$(ask /routez)")" -lt $((servers - 1)) ]; then
  rm -f "$whole"
  exit 0
fi
if [ "$(number_in cluster_size "$cluster")" -ge "$servers" ]; then
  if [ -e "$whole" ]; then
    : >"$joined"
    rm -f "$looks" "$starts" "$whole"
  else
    : >"$whole"
  fi
  exit 0
fi
rm -f "$whole"
# It does not help: whoever looks at the others finds out why.
if [ -e "$starts" ] && [ "$(wc -l <"$starts")" -ge 5 ]; then exit 0; fi
if echo "$cluster" | grep -q "\"leader\": \"$NATS_NAME\""; then exit 0; fi
echo "$NATS_NAME sees all servers, but not all in JetStream's cluster" >>"$looks"
# Three looks later than the server before it, which is enough for that one to be back.
if [ "$(wc -l <"$looks")" -ge $((3 * place)) ]; then
  rm -f "$looks"
  date >>"$starts"
  echo "start-nats: not all servers are in JetStream's cluster: $NATS_NAME starts again" >/proc/1/fd/2 || true
  kill -TERM 1
fi
