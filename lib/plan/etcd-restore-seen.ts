import { UsageError } from '../errors.ts';
import type { Answer } from '../ports/types.ts';
import { suggestion } from '../suggest.ts';
import { type NasSnapshot, type Snapshot, type SnapshotsSeen, timeInName } from './etcd-snapshots-seen.ts';
import type { SeenK3s } from './k3s-seen.ts';

/** What a restore looks at: plain data, made by lib/observe/etcd-restore.ts. */
export type RestoreSeen = {
  k3s: SeenK3s;
  snapshots: SnapshotsSeen;
  /** What restores have left on the servers. */
  traces: Record<string, Trace>;
  /** SHA-256 of the token that belongs to the snapshot; left out for one that is not on the NAS. */
  tokenHash?: Answer<string>;
  /** The uid of the Namespace kube-system: what the cluster is known by. */
  identity?: string;
};

/** What restores have left on a server. */
export type Trace = {
  /** How far one has come that was not ended. */
  state?: RestoreState;
  /** The id of the restore that made the data that lies there. */
  restored?: string;
  /** Ids of the restores that have moved data aside there. */
  kept: string[];
  /** Files of K3s's configuration that put its data elsewhere. */
  dataDir: string[];
  /** Folders in server/db that are disks of their own. */
  disks: string[];
};

/** `aside`: the old data is being moved away; `reset`: what lies there is the restored. */
export type RestoreState = { id: string; snapshot: string; target: string; stage: 'aside' | 'reset' };

/** Where a snapshot is taken from. */
export type Source = ({ from: 'nas' } & NasSnapshot) | ({ from: 'server'; server: string } & Snapshot);

/** The snapshot of that name: on the NAS, or else on a server; undefined: it is nowhere, or not whole. */
export function findSource({ snapshots: { nas, servers } }: Snapshots, name: string): Source | undefined {
  const remote = nas?.ok ? nas.value.find((one) => one.name === name && one.whole) : undefined;
  if (remote) return { from: 'nas', ...remote };
  return localOf(servers).find((one) => one.name === name);
}

/** The same. @throws UsageError when there is none */
export function sourceOf(seen: Snapshots, name: string): Source {
  const found = findSource(seen, name);
  if (found) return found;
  const { nas, servers } = seen.snapshots;
  if (nas?.ok && nas.value.some((one) => one.name === name))
    throw new UsageError(`the snapshot ${name} is not whole: its SHA-256 or its token is missing`, {
      fix: 'take another one: npx tsx scripts/etcd-snapshot.ts list',
    });
  const known = [...(nas?.ok ? nas.value.filter(({ whole }) => whole) : []), ...localOf(servers)].map(
    (one) => one.name,
  );
  const silent = nas && !nas.ok ? ` (the NAS could not be asked: ${nas.reason})` : '';
  throw new UsageError(`there is no snapshot "${name}"${silent}`, {
    fix: `${suggestion(name, new Set(known))}; npx tsx scripts/etcd-snapshot.ts list`,
  });
}

/** What a restore goes on with that has its snapshot in: by then it may be pruned, or the NAS not answer. */
export function restoredSource({ snapshot, target }: RestoreState): Source {
  return { from: 'server', server: target, name: snapshot, bytes: 0, time: timeInName(snapshot) ?? 0 };
}

type Snapshots = Pick<RestoreSeen, 'snapshots'>;

function localOf(servers: SnapshotsSeen['servers']): Source[] {
  return Object.entries(servers).flatMap(([server, answer]): Source[] =>
    answer.ok ? answer.value.local.map((one) => ({ from: 'server', server, ...one })) : [],
  );
}
