#!/usr/bin/env bash
# Makes what the queue needs for TLS in FOLDER (certs): a CA of its own, and certificates of it for the master and for clients.
# Usage: NAMES="queue.example.org 10.0.0.5" certs.sh [FOLDER]. NAMES: how other hosts call the master, beside master, localhost
# and 127.0.0.1; without it, the names stay. Run again it keeps the CA, and renews what expires within 30 days. DAYS: how long
# certificates last (365).
set -euo pipefail

if [[ ${1:-} == -h || ${1:-} == --help ]]; then
  sed -n '2,/^set/{/^#/s/^# \?//p}' "$0"
  exit
fi
folder=${1:-certs}
ca_days=3650
days=${DAYS:-365}
renewal_seconds=$((30 * 24 * 3600))
containers_user=10001

fail() { printf 'certs: %s\n' "$*" >&2; exit 1; }
say() { printf 'certs: %s\n' "$*"; }

if ! command -v openssl >/dev/null; then
  missing="openssl is not installed (Debian: apt-get install openssl)"
  [[ $(id -u) -eq 0 ]] || fail "$missing"
  command -v apt-get >/dev/null || fail "$missing"
  apt-get update -q >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends openssl >&2
fi

# Nothing of the system's own openssl.cnf, which may differ.
export OPENSSL_CONF=/dev/null
umask 077
mkdir -p "$folder"
chmod 0700 "$folder"
made=$(mktemp -d "$folder/.new.XXXXXX")
trap 'rm -rf "$made"' EXIT

lasts() { [[ -s $1 ]] && openssl x509 -in "$1" -noout -checkend "$renewal_seconds" >/dev/null; }
new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1"; }

make_ca() {
  new_key "$made/ca.key"
  cat >"$made/ca.cnf" <<'END'
[req]
distinguished_name = name
x509_extensions = extensions
prompt = no
[name]
CN = Taskyard CA
[extensions]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
END
  openssl req -x509 -new -key "$made/ca.key" -days "$ca_days" -config "$made/ca.cnf" -out "$made/ca.pem"
  mv "$made/ca.key" "$made/ca.pem" "$folder"
  say "made a CA: $folder/ca.pem, which clients trust; whoever has $folder/ca.key can make certificates"
}

# NAME USES [ALTERNATIVE NAMES]. Keys can be read by the containers' user, who sees the files that are mounted; others can't enter the folder.
make_certificate() {
  [[ -s $folder/ca.key ]] || fail "$folder/ca.key is missing, without which no certificate can be made; put it back, or remove $folder to begin anew"
  lasts "$folder/ca.pem" || fail "the CA $folder/ca.pem expires: remove $folder, run this again, and give all clients the new ca.pem"
  new_key "$made/$1.key"
  printf '[req]\ndistinguished_name = name\nprompt = no\n[name]\nCN = %s\n' "$1" >"$made/$1.cnf"
  {
    printf 'basicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\nextendedKeyUsage = %s\n' "$2"
    printf 'subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n'
    [[ -z ${3:-} ]] || printf 'subjectAltName = %s\n' "$3"
  } >"$made/$1.ext"
  openssl req -new -key "$made/$1.key" -config "$made/$1.cnf" -out "$made/$1.csr"
  openssl x509 -req -in "$made/$1.csr" -CA "$folder/ca.pem" -CAkey "$folder/ca.key" -set_serial "0x$(openssl rand -hex 16)" \
    -days "$days" -extfile "$made/$1.ext" -out "$made/$1.pem" 2>"$made/said" || fail "$(<"$made/said")"
  if [[ $(id -u) -eq 0 ]]; then
    chown "$containers_user" "$made/$1.key"
    chmod 0644 "$made/$1.pem"
  else
    chmod 0644 "$made/$1.key" "$made/$1.pem"
  fi
  mv "$made/$1.key" "$made/$1.pem" "$folder"
  say "made $folder/$1.pem, for $days days${3:+, for ${3//,/, }}"
}

# As openssl.cnf has them: DNS:master,IP:127.0.0.1
wanted_names() {
  local name wanted="DNS:master,DNS:localhost,IP:127.0.0.1"
  for name in $NAMES; do
    [[ $name =~ ^[][A-Za-z0-9.:*_-]+$ ]] || fail "NAMES: $name is neither a name nor an address"
    if [[ $name =~ ^[0-9.]+$ || $name == *:* ]]; then wanted+=",IP:$name"; else wanted+=",DNS:$name"; fi
  done
  echo "$wanted"
}

# NAME: its certificate lasts, is of this CA, and its key is there, also where an earlier run was interrupted.
is_good() {
  lasts "$folder/$1.pem" && openssl verify -CAfile "$folder/ca.pem" "$folder/$1.pem" >/dev/null 2>&1 \
    && [[ $(openssl x509 -in "$folder/$1.pem" -noout -pubkey) == $(openssl pkey -in "$folder/$1.key" -pubout 2>/dev/null) ]]
}

[[ -s $folder/ca.pem ]] || make_ca
chmod 0644 "$folder/ca.pem"
before=$(cat "$folder/master.names" 2>/dev/null || true)
names=$before
if [[ -n ${NAMES+given} || -z $before ]]; then
  NAMES=${NAMES:-}
  names=$(wanted_names)
fi
if [[ $names != "$before" ]] || ! is_good master; then
  # The master is a client too: it asks over its own port whether it is well.
  make_certificate master serverAuth,clientAuth "$names"
  echo "$names" >"$folder/master.names"
fi
is_good client || make_certificate client clientAuth
say "$folder is up to date; the master's certificate is for ${names//,/, } until $(openssl x509 -in "$folder/master.pem" -noout -enddate | cut -d= -f2)"
