#!/bin/bash
# archive_command: archive-wal.sh %p %f
# A segment appears in the archive whole or not at all, is never overwritten, and can be read by the worker's group.
set -euo pipefail
source=$1 name=$2 archive=${WAL_ARCHIVE:-/backups/wal}

if [[ -e $archive/$name ]]; then
  cmp --silent "$source" "$archive/$name" && exit 0 # archived before a crash that kept PostgreSQL from knowing
  echo "$name is in the archive already, with other contents" >&2
  exit 1
fi
cp "$source" "$archive/.$name.part"
chmod 0640 "$archive/.$name.part"
sync "$archive/.$name.part"
mv "$archive/.$name.part" "$archive/$name"
sync "$archive"
