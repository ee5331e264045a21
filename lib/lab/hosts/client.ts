/**
 * Asks the lab to do what it is named after. $HOMELAB_LAB_CALL is a folder of this session; descriptors 3 and
 * 4 lead to the lab's process, and end with it. Only stdin that is asked for (`-`, `-i`) is read: the rest of
 * it belongs to the script that calls. A shell is a tenth of the time that Node takes to start.
 */
export const CLIENT = `#!/bin/sh
call=$HOMELAB_LAB_CALL/$$
input=
for word in "$@"; do
  case $word in -|*=-|-f-|/dev/stdin|-i|-it|-ti|--stdin|--stdin=true) input=1 ;; esac
done
case \${0##*/} in
  sh|bash|dash)
    input=1
    for word in "$@"; do
      case $word in -s*) ;; -*c*|[!-+]*) input=; break ;; esac
    done ;;
  chpasswd|crontab) input=1 ;;
esac
printf '%s\\0' "$0" "$@" > "$call.argv"
env -0 > "$call.env"
if [ "$input" ]; then cat > "$call.in"; fi
set -C
until true > "$HOMELAB_LAB_CALL/lock"; do sleep 0.05; done 2> /dev/null
set +C
answer=
printf '%s\\n' "$$" >&3 && IFS= read -r answer <&4
rm -f "$HOMELAB_LAB_CALL/lock"
case $answer in
  exec) . "$call.exec" ;;
  exit*) ;;
  *) echo "\${0##*/}: the lab has ended" >&2; exit 125 ;;
esac
if [ -s "$call.out" ]; then cat "$call.out"; fi
if [ -s "$call.err" ]; then cat "$call.err" >&2; fi
rm -f "$call".*
exit "\${answer#exit }"
`;

/** sudo without privileges: what follows is marked as root's. Asks for a password when the host has one. */
export const SUDO = `#!/bin/sh
ask=1
from_stdin=
while [ $# -gt 0 ]; do
  case $1 in
    -n) ask= ;;
    -S) from_stdin=1 ;;
    -p|-u|-g) shift ;;
    -l|-v) set -- true; break ;;
    --) shift; break ;;
    -*) ;;
    [A-Za-z_]*=*) export "$1" ;;
    *) break ;;
  esac
  shift
done
while case \${1-} in [A-Za-z_]*=*) true ;; *) false ;; esac; do export "$1"; shift; done
if [ -f "$HOMELAB_LAB_SUDO" ] && [ -z "\${HOMELAB_LAB_ROOT-}" ]; then
  if [ -z "$ask" ] || [ -z "$from_stdin" ]; then echo 'sudo: a password is required' >&2; exit 1; fi
  IFS= read -r given || given=
  IFS= read -r wanted < "$HOMELAB_LAB_SUDO"
  if [ "$given" != "$wanted" ]; then echo 'sudo: 1 incorrect password attempt' >&2; exit 1; fi
fi
HOMELAB_LAB_ROOT=1
export HOMELAB_LAB_ROOT
[ $# -gt 0 ] || { echo 'usage: sudo command' >&2; exit 1; }
exec "$@"
`;
