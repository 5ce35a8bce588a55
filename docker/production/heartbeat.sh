#!/bin/bash
# Writes the heartbeat row once a second and an order now and then, over one connection.
set -euo pipefail
trap 'exit 0' TERM INT

while sleep 1; do
  echo 'UPDATE dr_heartbeat SET beat_at = clock_timestamp();'
  ((SECONDS % 5)) || echo 'INSERT INTO orders (customer_id, amount) SELECT id, 9.99 FROM customers ORDER BY random() LIMIT 1;'
done | psql --no-psqlrc --quiet --set ON_ERROR_STOP=1
