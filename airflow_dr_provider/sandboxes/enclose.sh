#!/bin/sh
# Builds a root that holds the system's programs and one sandbox and nothing else, moves into it, and becomes a command.
# To be run inside mount, network, process and IPC namespaces of its own, by their root.
#
#   enclose.sh MOUNT_POINT PLACE [--show PATH]... [--hold FOLDER PATH]... -- COMMAND [ARGUMENT]...
#
#   MOUNT_POINT   an empty folder to build in
#   PLACE         the sandbox: its data, data.tablespaces, run (writable), conf and wal appear under /sandbox
#   --show PATH   a tree of the host that the command needs at the same path, read-only
#   --hold F P    a folder of the sandbox that has to appear, writable, at path P
set -eu
PATH=/usr/sbin:/usr/bin:/sbin:/bin
root=$1 place=$2
shift 2

writable() { mkdir -p "$2" && mount --bind "$1" "$2"; }
# Read-only is a second wall: inside, the command is an unprivileged account. Where the kernel locks the flags of a mount
# that came from outside, it stays as the host has it.
read_only() { mkdir -p "$2" && mount --rbind "$1" "$2" && { mount -o remount,bind,ro "$2" 2>/dev/null || :; }; }

mount -t tmpfs -o mode=755,size=16m,nosuid,nodev drill "$root"
cd "$root"
for name in usr bin sbin lib lib32 lib64 libx32; do
  if [ -L "/$name" ]; then cp -P "/$name" "$name"; elif [ -d "/$name" ]; then read_only "/$name" "$name"; fi
done
mkdir dev dev/shm etc proc tmp sandbox outside
for name in null zero full random urandom; do
  : >"dev/$name"
  mount --bind "/dev/$name" "dev/$name"
done
mount -t tmpfs -o mode=1777,nosuid,nodev drill dev/shm
mount -t tmpfs -o mode=1777,nosuid,nodev,size=64m drill tmp
# PostgreSQL needs no /proc, and a container that hides parts of its own doesn't let one be mounted.
mount -t proc -o nosuid,nodev,noexec proc proc 2>/dev/null || :
cp "$place"/conf/etc/* etc/
if [ -e /etc/ld.so.cache ]; then cp /etc/ld.so.cache etc/; fi
for name in data data.tablespaces run; do writable "$place/$name" "sandbox/$name"; done
for name in conf wal; do read_only "$place/$name" "sandbox/$name"; done
while [ "$1" != -- ]; do
  case $1 in
    --show) read_only "$2" "$root$2" && shift 2 ;;
    --hold) writable "$place/$2" "$root$3" && shift 3 ;;
  esac
done
shift
# pivot_root, not chroot: nothing of the old root stays within reach, and whoever enters the namespaces later lands in this one.
pivot_root . outside
cd /
umount -l outside
rmdir outside
mount -o remount,bind,ro / 2>/dev/null || :
cd /sandbox/data
exec "$@"
