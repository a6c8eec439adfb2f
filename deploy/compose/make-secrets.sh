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
if [ ! -e control.pem ]; then
  # An authority for this one certificate: its key is not kept. After ten years, or for another name, remove the three.
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -subj "/CN=TechStone planes" \
    -keyout authority.key -out planes-ca.pem 2> /dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=control" \
    -keyout control.key -out control.csr 2> /dev/null
  printf 'subjectAltName = DNS:control, DNS:localhost\nbasicConstraints = CA:FALSE\n' > control.ext
  openssl x509 -req -in control.csr -CA planes-ca.pem -CAkey authority.key -CAcreateserial -days 3650 \
    -extfile control.ext -out control.pem 2> /dev/null
  rm -f authority.key control.csr control.ext planes-ca.srl
  chmod 0644 control.key
fi
echo "Secrets are in $(pwd). Providers' keys belong into gateway.env, and that they are there into control.env."
