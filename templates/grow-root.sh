#!/bin/sh
# Grows partition → physical volume → logical volume → file system of / to the end of the disk. Each stage is tried
# whatever the one before it found: an earlier growth may have stopped between two of them.
# In the template it runs at every boot (grow-root.service); `provision` runs it on a VM whose disk has grown.
# Exit code 1: a stage failed, and said why.
set -u
LC_ALL=C
export LC_ALL

failed=0
fail() {
  echo "grow-root: $*" >&2
  failed=1
}

# stage PATTERN COMMAND…: a command that fails because there is nothing to grow, and says so, has not failed.
stage() {
  nothing=$1
  shift
  if output=$("$@" 2>&1); then
    echo "$*: $output"
  else
    code=$?
    if echo "$output" | grep -q -E "$nothing"; then
      echo "$*: nothing to grow"
    else
      fail "$* ended with exit code $code: $output"
    fi
  fi
}

# names KIND: the devices of that kind that / lies on.
names() {
  echo "$layers" | while read -r name kind; do
    if [ "$kind" = "$1" ]; then echo "$name"; fi
  done
}

source=$(findmnt -n -o SOURCE /)
type=$(findmnt -n -o FSTYPE /)
if [ -z "$source" ] || [ -z "$type" ]; then
  fail "findmnt does not say what is mounted at /"
  exit 1
fi

# The device of / and what it lies on, nearest first: "/dev/mapper/vg-lv lvm", "/dev/sda3 part", "/dev/sda disk".
layers=$(lsblk -n -r -p -s -o NAME,TYPE "$source")
parts=$(names part)
if [ -z "$layers" ]; then
  fail "lsblk does not say what $source lies on"
  exit 1
fi

for part in $parts; do
  disk=$(lsblk -n -d -r -p -o PKNAME "$part")
  number=${part#"$disk"}
  # nvme0n1p3: a letter stands between.
  stage '^NOCHANGE' growpart "$disk" "${number#p}"
done

if [ -n "$(names lvm)" ]; then
  # Without a partition the disk itself is the physical volume.
  for volume in ${parts:-$(names disk)}; do
    stage 'resized or updated' pvresize "$volume"
  done
  stage 'matches existing size|No size change' lvextend -l +100%FREE "$source"
fi

case $type in
ext2 | ext3 | ext4) stage 'Nothing to do' resize2fs "$source" ;;
xfs) stage 'data size unchanged' xfs_growfs / ;;
*) fail "$source has a file system that is not known here: $type" ;;
esac

exit "$failed"
