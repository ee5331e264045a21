import { stringify } from 'yaml';
import { ALONE } from './etcd-alone.ts';
import { CONFIG_FILE } from './k3s-config.ts';

/** What a restore keeps on servers while it is under way. */
export const RESTORE_FOLDER = '/var/lib/homelab/etcd-restore';
/** How far it has come on a server: it is how a restore that was interrupted goes on. */
export const RESTORE_STATE = `${RESTORE_FOLDER}/state`;
/** Leads a server to the restored one, where its config.yaml says something else; only until it has joined. */
export const JOIN_FILE = `${CONFIG_FILE}.d/homelab-restore.yaml`;
/** Seconds that K3s has to restore a snapshot and to reset the membership. */
export const RESET_SECONDS = 900;

/** Lies in the data that a restore has made, and goes with it when somebody moves it away: holds the restore's id. */
export const RESTORE_MARK = '/var/lib/rancher/k3s/server/db/etcd/homelab-restore';
/** Begins the name of the folder that keeps the data of before; what follows is the restore's id. */
export const KEPT = '/var/lib/rancher/k3s/server/db.before-restore-';

/** Where the data of before is kept, on each server. */
export function keptFolder(id: string): string {
  return `${KEPT}${id}`;
}

const NOTE = `note() {
  mkdir -p ${RESTORE_FOLDER}
  printf 'id=%s\\nsnapshot=%s\\ntarget=%s\\nstage=%s\\n' "$id" "$snapshot" "$target" "$1" > ${RESTORE_STATE}.new
  mv -f ${RESTORE_STATE}.new ${RESTORE_STATE}
}
`;

/**
 * Moves server/db away, whole and by one rename, and gives the snapshots in it back. The folder that keeps it says that
 * it was done, also where there was nothing to move: run again it moves nothing, for what is there then is not the old
 * data. That it was begun is noted before.
 *
 * A server that joins the restored one gives up its certificates and keys too, into the same folder: where they are
 * younger than the snapshot's (K3s was installed anew since), K3s does not start with them ("newer than datastore and
 * could cause a cluster outage"). Without server/tls it takes those of the server that it joins, as a new machine does.
 * The one that is reset puts its own aside by itself.
 */
const ASIDE = `set -eu
umask 077
id=$1 snapshot=$2 target=$3 kept=$4 part=$5
server=/var/lib/rancher/k3s/server
db=$server/db
${ALONE}${NOTE}note aside
if [ ! -e "$kept" ]; then
  mkdir -p "$db"
  if [ "$part" = joins ]; then
    for keys in tls cred; do
      if [ -d "$server/$keys" ] && [ ! -e "$db/$keys" ]; then mv "$server/$keys" "$db/$keys"; fi
    done
  fi
  mv "$db" "$kept"
fi
mkdir -p "$db"
if [ -d "$kept/snapshots" ] && [ ! -e "$db/snapshots" ]; then mv "$kept/snapshots" "$db/snapshots"; fi
`;

/**
 * `k3s server --cluster-reset` with a snapshot. K3s refuses while its configuration names a server to join, so it is
 * given a copy without; what config.yaml.d adds, it reads beside whichever file it is given. Its words count, not only
 * its exit code: it may be done, and not end.
 */
const RESET = `set -u
umask 077
id=$1 snapshot=$2 target=$3 seconds=$4
config=${RESTORE_FOLDER}/config.yaml log=${RESTORE_FOLDER}/reset.log
${ALONE}bare() {
  sed '/^"\\{0,1\\}server"\\{0,1\\} *:/d' "$1" > "$2" || exit 73
}
rm -rf "$config.d"
mkdir -p "$config.d" || exit 73
bare ${CONFIG_FILE} "$config"
for file in ${CONFIG_FILE}.d/*.yaml ${CONFIG_FILE}.d/*.yml; do
  if [ -f "$file" ] && [ "$file" != ${JOIN_FILE} ]; then bare "$file" "$config.d/\${file##*/}"; fi
done
timeout -k 10 "$seconds" k3s server --config "$config" --cluster-reset \\
  "--cluster-reset-restore-path=${RESTORE_FOLDER}/$snapshot" > "$log" 2>&1 < /dev/null
code=$?
rm -rf "$config" "$config.d"
if ! grep -q 'restart without --cluster-reset flag now' "$log"; then
  echo "k3s server --cluster-reset ended with exit code $code; $log has all that it said" >&2
  tail -n 12 "$log" >&2
  exit 1
fi
echo "$id" > ${RESTORE_MARK} || exit 73
${NOTE}note reset
`;

/** Identifies one restore, on every server. */
export type RestoreId = { id: string; snapshot: string; target: string };

/** The script for `sh -s`, and its arguments. @param part what the server does next */
export function asideCommand(
  { id, snapshot, target }: RestoreId,
  part: 'is reset' | 'joins',
): { argv: string[]; stdin: string } {
  return { argv: ['sh', '-s', '--', id, snapshot, target, keptFolder(id), part], stdin: ASIDE };
}

export function resetCommand({ id, snapshot, target }: RestoreId): { argv: string[]; stdin: string } {
  return { argv: ['sh', '-s', '--', id, snapshot, target, String(RESET_SECONDS)], stdin: RESET };
}

/** JOIN_FILE of a server. */
export function joinText(server: string): string {
  return `# Written by etcd-snapshot restore, which takes it away when the server has joined.\n${stringify({ 'cluster-init': false, server })}`;
}
