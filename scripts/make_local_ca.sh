#!/usr/bin/env bash
# Makes an authority of your own for trying TLS, and by it a certificate for a server.
#
# usage: scripts/make_local_ca.sh FOLDER [NAME...]
#
# NAME is a host name or an address by which clients find the server [default: localhost 127.0.0.1 ::1]. The
# folder then has ca.crt for clients (--ca FOLDER/ca.crt or SYNCNET_CA), and server.crt and server.key for the
# configuration (tls.certificate, tls.key). Called again, it keeps the authority and makes another
# certificate.
#
# The authority's key is in the folder without a password. With it, an attacker can pass for any server to
# clients that trust ca.crt: for real work use an authority that protects its keys.
set -euo pipefail

if [ $# -lt 1 ]; then
    sed -n '4s/^# //p' "$0" >&2
    exit 2
fi
command -v openssl >/dev/null || { printf 'make_local_ca.sh: openssl is missing\n' >&2; exit 1; }

folder=$1
shift
names=("$@")
if [ ${#names[@]} -eq 0 ]; then names=(localhost 127.0.0.1 ::1); fi
days=${SYNCNET_CA_DAYS:-365}

umask 077
mkdir -p "$folder"
cd "$folder"

if [ ! -e ca.key ]; then
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=SyncNet local authority" \
        -addext basicConstraints=critical,CA:TRUE,pathlen:0 -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout ca.key -out ca.crt 2>/dev/null
    chmod 644 ca.crt
fi

list=""
for name in "${names[@]}"; do
    case $name in
    *:* | [0-9]*.[0-9]*.[0-9]*.[0-9]*) list+=",IP:$name" ;;
    *) list+=",DNS:$name" ;;
    esac
done

# Into new files, so that a running server never reads half of one: first the certificate, then its key.
openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=${names[0]}" \
    -keyout server.key.new -out server.csr 2>/dev/null
printf 'basicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\nsubjectAltName=%s\n' "${list#,}" >server.ext
openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days "$days" -extfile server.ext \
    -out server.crt.new 2>/dev/null
chmod 644 server.crt.new
mv server.crt.new server.crt
mv server.key.new server.key
rm -f server.csr server.ext
printf 'made %s/server.crt for %s\n' "$(pwd)" "${names[*]}"
