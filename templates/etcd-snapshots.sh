#!/bin/sh
# Snapshots of etcd on an NFS export. `etcd-snapshot install` puts it on every K3s server as
# /usr/local/sbin/homelab-etcd-snapshots, and cron calls it there; the other commands send it to a server as it is.
#
#   save  SOURCE OPTIONS FOLDER NODE KEEP [NAME]     takes a snapshot, brings it there, prunes
#   list  SOURCE OPTIONS FOLDER                      what lies there: PATH, bytes and seconds, a line a file
#   token SOURCE OPTIONS FOLDER NODE SNAPSHOT        SHA-256 of the token that belongs to a snapshot
#   fetch SOURCE OPTIONS FOLDER NODE SNAPSHOT FILE   brings a snapshot from there, and compares it
#
# SOURCE is SERVER:PATH, FOLDER a folder below it; a server's snapshots are in FOLDER/NODE. Whatever happens, it
# unmounts, and leaves no file by a final name that is not whole. It runs as root.
#
# Exit codes: 0 · 32 the export could not be mounted · 66 there is no such snapshot · 70 K3s took none · 73 it could not
# be written · 74 what arrived is not what was sent · 76 it could not be unmounted · 64 a wrong call.
set -u
umask 077
LC_ALL=C
export LC_ALL

me=homelab-etcd-snapshots
state=/var/lib/homelab/etcd-snapshots.state
saved=/var/lib/rancher/k3s/server/db/snapshots
token_file=/var/lib/rancher/k3s/server/token
# Snapshots of ours that stay on the server itself.
keep_local=3

if [ $# -lt 4 ]; then
  echo "usage: $me save|list|token|fetch SOURCE OPTIONS FOLDER …" >&2
  exit 64
fi
errand=$1 source=$2 options=$3 folder=$4
shift 4
dir=/run/$me.$$
mounted='' snapshot='' said='' part=''

fail() {
  code=$1
  shift
  said=$(echo "$*" | tr '\n' ' ')
  echo "$me: $said" >&2
  exit "$code"
}

leave() {
  code=$?
  trap - EXIT
  # What was not renamed is not whole.
  if [ -n "$mounted" ] && [ -n "$part" ]; then rm -f "$part" "$part.token" "$part.sha256"; fi
  if ! detach; then
    echo "$me: $dir could not be unmounted, and is detached" >&2
    said=${said:-it could not be unmounted}
    if [ "$code" -eq 0 ]; then code=76; fi
  fi
  if [ "$errand" = save ]; then note "$code"; fi
  exit "$code"
}

# For whoever looks afterwards: syslog, and a file that `etcd-snapshot status` reads.
note() {
  mkdir -p /var/lib/homelab
  {
    echo "time=$(date -u +%s)"
    echo "code=$1"
    echo "snapshot=$snapshot"
    echo "said=$said"
  } > "$state.$$" && chmod 644 "$state.$$" && mv -f "$state.$$" "$state"
  if [ "$1" -eq 0 ]; then
    logger -t "$me" -p daemon.info "$snapshot is at $source"
  else
    logger -t "$me" -p daemon.err "failed with exit code $1: ${said:-it was ended}"
  fi
}

attach() {
  mkdir -m 0700 "$dir" || fail 73 "$dir could not be made"
  mounted=1 # before it is: a signal may come while it mounts
  words=$(timeout 30 mount -t nfs -o "$options" "$source" "$dir" 2>&1)
  code=$?
  if [ "$code" -ne 0 ]; then
    mounted=''
    if [ "$code" -eq 124 ]; then words="no answer within 30 s"; fi
    fail 32 "mount $source: ${words:-exit code $code}; setup-nfs says what the NAS needs"
  fi
  # What is not a mount is this machine's own disk.
  case $(findmnt -n -o FSTYPE -M "$dir") in
    nfs*) ;;
    *) fail 32 "$dir is not a mount of $source" ;;
  esac
}

detach() {
  if [ -n "$mounted" ]; then
    umount "$dir" || {
      umount -l "$dir"
      rmdir "$dir" 2> /dev/null
      mounted=''
      return 1
    }
    mounted=''
  fi
  if [ -d "$dir" ]; then rmdir "$dir"; fi
}

sum() { sha256sum | cut -d ' ' -f 1; }

# ours NODE FOLDER NEW: names of the snapshots there that the schedule made: NEW, which came last, then by when they
# came. Their names have the time of a clock that may have been wrong. So may be what is younger than NEW: it comes last.
ours() {
  find "$2/" -maxdepth 1 -type f -name "homelab-$1-*" -exec stat -c '%Y %n' {} + |
    sed -n "s/^\([0-9]*\) .*\/\(homelab-$1-\([0-9][0-9]*\)\)\$/\1 \3 \2/p" |
    awk -v new="$3" -v last="$(stat -c %Y "$2/$3")" '{ print ($3 == new ? 0 : $1 > last ? 2 : 1), $0 }' |
    sort -k 1,1n -k 2,2rn -k 3,3rn | cut -d ' ' -f 4
}

take() {
  words=$(k3s etcd-snapshot save --name "$2" 2>&1) ||
    fail 70 "k3s etcd-snapshot save: $(echo "$words" | tail -n 1)"
  snapshot=$(echo "$words" | sed -n 's/.*Snapshot \([A-Za-z0-9._-]*\) saved.*/\1/p' | head -n 1)
  if [ -z "$snapshot" ] || [ ! -f "$saved/$snapshot" ]; then
    fail 70 "K3s says that it saved a snapshot, and there is none: $(echo "$words" | tail -n 1)"
  fi
  # Also where the export cannot be reached for weeks, they do not fill the disk.
  ours "$1" "$saved" "$snapshot" | tail -n +$((keep_local + 1)) | while read -r old; do
    if [ "$old" != "$snapshot" ]; then k3s etcd-snapshot delete "$old" < /dev/null > /dev/null 2>&1; fi
  done
}

save() {
  if [ $# -lt 2 ]; then fail 64 'save: NODE and KEEP are missing'; fi
  node=$1 keep=$2
  take "$node" "${3:-homelab}"
  wanted=$(sum < "$saved/$snapshot")
  attach
  to=$dir/$folder/$node
  part=$to/.$snapshot.$$.part
  mkdir -p "$to" || fail 73 "$source: $folder/$node could not be made: is root squashed, or the export read-only?"
  words=$({ cp "$saved/$snapshot" "$part" && sync "$part"; } 2>&1) || fail 73 "$source could not be written: $words"
  # Mounted anew, what is read back is what the server has, and not what this machine remembers of it.
  detach || fail 76 "$source could not be unmounted"
  attach
  if [ "$(sum < "$part")" != "$wanted" ]; then fail 74 "what arrived at $source is not what was sent"; fi
  # What belongs to it comes first: by its own name it is whole.
  { cp "$token_file" "$part.token" && mv -f "$part.token" "$to/$snapshot.token"; } ||
    fail 73 "the token could not be written to $source"
  { echo "$wanted  $snapshot" > "$part.sha256" && mv -f "$part.sha256" "$to/$snapshot.sha256"; } ||
    fail 73 "its SHA-256 could not be written to $source"
  mv -f "$part" "$to/$snapshot" || fail 73 "$source could not be written"
  prune
  detach || fail 76 "$source could not be unmounted"
}

# Never the one that just came, nor what a person named.
prune() {
  ours "$node" "$to" "$snapshot" | tail -n +$((keep + 1)) | while read -r old; do
    if [ "$old" != "$snapshot" ]; then rm -f "$to/$old" "$to/$old.sha256" "$to/$old.token"; fi
  done
  find "$to/" -maxdepth 1 -name '.*.part*' -mtime +0 -exec rm -f {} +
}

list() {
  attach
  if [ -d "$dir/$folder" ]; then
    find "$dir/$folder/" -mindepth 2 -maxdepth 2 -type f ! -name '.*' -printf '%P %s %T@\n'
  fi
}

# The part of the token that all its forms have.
token() {
  attach
  if [ ! -f "$dir/$folder/$1/$2.token" ]; then fail 66 "$folder/$1/$2.token is not there"; fi
  printf %s "$(sed 's/^K10[0-9a-f]*::[a-z]*://' < "$dir/$folder/$1/$2.token")" | sum
}

fetch() {
  from=$dir/$folder/$1/$2 file=$3
  attach
  if [ ! -f "$from" ]; then fail 66 "$folder/$1/$2 is not there"; fi
  if [ ! -f "$from.sha256" ]; then fail 66 "$folder/$1/$2 has no SHA-256 beside it"; fi
  mkdir -p "$(dirname "$file")" || fail 73 "$(dirname "$file") could not be made"
  cp "$from" "$file.part" || {
    rm -f "$file.part"
    fail 73 "$file could not be written"
  }
  if [ "$(sum < "$file.part")" != "$(cut -d ' ' -f 1 < "$from.sha256")" ]; then
    rm -f "$file.part"
    fail 74 "$folder/$1/$2 is not what its SHA-256 says"
  fi
  mv -f "$file.part" "$file" || fail 73 "$file could not be written"
}

# What a killed one left; what runs stays.
for old in "/run/$me".*; do
  if [ -d "$old" ] && ! kill -0 "${old##*.}" 2> /dev/null; then
    umount "$old" 2> /dev/null
    rmdir "$old"
  fi
done
trap leave EXIT
trap 'exit 129' HUP INT TERM
case $errand in
  save) save "$@" ;;
  list) list ;;
  token) token "$1" "$2" ;;
  fetch) fetch "$1" "$2" "$3" ;;
  *) fail 64 "there is no $errand" ;;
esac
