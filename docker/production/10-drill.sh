#!/bin/bash
# Runs once, when the demo production's cluster is made: accounts, tables, and who may take a base backup.
set -euo pipefail

psql --no-psqlrc --quiet --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
  --set backup_password="$DEMO_BACKUP_PASSWORD" --set reader_password="$DEMO_READER_PASSWORD" \
  --file /etc/airflow-dr/schema.sql

# The image lets no one replicate over the network; the backup service has to.
echo 'host replication backup samenet scram-sha-256' >>"$PGDATA/pg_hba.conf"
