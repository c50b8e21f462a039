#!/usr/bin/env bash
# A PostgreSQL for one study, in Docker, on the host that all others reach. The password comes from the environment.
set -euo pipefail
: "${PASSWORD:?set PASSWORD, and keep it out of your shell history}"

docker run --detach --name steadynet-db --restart unless-stopped \
    --env POSTGRES_USER=steady --env POSTGRES_PASSWORD="$PASSWORD" --env POSTGRES_DB=studies \
    --publish 5432:5432 --volume steadynet-db:/var/lib/postgresql/data \
    postgres:16 -c max_connections=300

echo "On each host: export STEADYNET_STORAGE=postgresql://steady:\$PASSWORD@$(hostname):5432/studies"
