#!/bin/bash
# Takes a base backup now and every BACKUP_EVERY seconds, and keeps the newest BACKUP_KEEP.
# A backup gets its name when it is whole; the WAL archive keeps what the oldest of them needs.
set -euo pipefail
trap 'exit 0' TERM INT # what runs in the background ends with the container
folder=${BACKUP_FOLDER:-/backups/base} archive=${WAL_ARCHIVE:-/backups/wal}
every=${BACKUP_EVERY:?seconds between two base backups} keep=${BACKUP_KEEP:?how many base backups to keep}

back_up() {
  local name
  name=$(date --utc +%Y%m%dT%H%M%SZ)
  pg_basebackup --pgdata "$folder/.$name" --checkpoint fast --wal-method stream &
  wait $!
  chmod --recursive g+rX "$folder/.$name"
  mv "$folder/.$name" "$folder/$name"
  echo "base backup $name"
}

prune() {
  local backups oldest
  mapfile -t backups < <(cd "$folder" && printf '%s\n' [0-9]*T*Z | sort --reverse)
  ((${#backups[@]} > keep)) || return 0
  for name in "${backups[@]:keep}"; do rm -r "${folder:?}/$name"; done
  oldest=$(sed -n 's/^START WAL LOCATION: .*(file \([0-9A-F]*\))$/\1/p' "$folder/${backups[keep - 1]}/backup_label")
  pg_archivecleanup "$archive" "${oldest:?the oldest backup names no segment}"
}

rm -rf "$folder"/.[0-9]*
while :; do
  back_up
  prune
  sleep "$every" &
  wait $!
done
