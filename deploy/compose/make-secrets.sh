#!/bin/sh
# Makes every secret of compose.yaml in the folder `secrets`, once: what is there stays. It needs openssl.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
cd secrets
# Containers read these files as users of their own; nobody else of this machine can enter the folder.
umask 022
[ -e control.token ] || openssl rand -hex 32 > control.token
[ -e database.password ] || openssl rand -hex 24 > database.password
[ -e limits.password ] || openssl rand -hex 24 > limits.password
# What is sealed in the database opens with this key alone: keep it in a safe place of its own.
[ -e secret.key ] || openssl rand -base64 32 > secret.key
if [ ! -e control.env ]; then
  {
    echo "# The control plane's environment. Passwords of mail and payments belong here, too. Of a provider's key it"
    echo "# only has to know that it is there: OPENAI_API_KEY=set"
    echo "DATABASE_PASSWORD=$(cat database.password)"
    echo "TECHSTONE_SECRET_KEY=$(cat secret.key)"
  } > control.env
fi
if [ ! -e gateway.env ]; then
  {
    echo "# Both gateways' environment. Providers' keys belong here: OPENAI_API_KEY=sk-..."
    echo "REDIS_PASSWORD=$(cat limits.password)"
    echo "TECHSTONE_SECRET_KEY=$(cat secret.key)"
  } > gateway.env
fi
# Makes a certificate for a name, and an authority for this one alone, whose key is not kept. After ten years, or for
# another name, remove the three.
issue() {
  [ ! -e "$1.pem" ] || return 0
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=TechStone $2" \
    -keyout authority.key -out "$2.pem" 2> /dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$1" \
    -keyout "$1.key" -out "$1.csr" 2> /dev/null
  printf 'subjectAltName = DNS:%s, DNS:localhost\nbasicConstraints = CA:FALSE\n' "$1" > "$1.ext"
  openssl x509 -req -in "$1.csr" -CA "$2.pem" -CAkey authority.key -CAcreateserial -days 3650 \
    -extfile "$1.ext" -out "$1.pem" 2> /dev/null
  rm -f authority.key "$1.csr" "$1.ext" "$2.srl"
  chmod 0644 "$1.key"
}
issue control planes-ca
issue valkey valkey-ca
echo "Secrets are in $(pwd). Providers' keys belong into gateway.env, and that they are there into control.env."
