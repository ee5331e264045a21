import { quorum } from '../config/quorum.ts';
import type { Backup } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import type { Answer } from '../ports/types.ts';
import type { Note } from '../step.ts';

/** What lies only on VMs that would go, as it was seen. */
export type LossesSeen = {
  /** Persistent volumes that lie on K3s nodes. */
  volumes: Answer<NodeVolume[]>;
  /** The members of etcd, as the cluster has them. */
  members: Answer<{ name: string; ready: boolean }[]>;
  /** install-k3s has run: there is a token. */
  clusterMade?: boolean;
  /** Hours since the last proven backup of each database server; undefined: there is none. Only with `backup`. */
  backups?: Answer<{ server: string; hours?: number }[]>;
};

/** `claim` is NAMESPACE/NAME. Without `node` it is a folder of whichever node its pods ran on. */
export type NodeVolume = { node?: string; name: string; claim?: string; size: string; storageClass?: string };

/** A VM that goes; `again`: and is made anew. */
export type Doomed = { name: string; vmid: number; node: string; again?: boolean };

/** What is gone with each VM, in words for the one who must confirm it. */
export function lossLines(lab: Lab, doomed: readonly Doomed[], seen: LossesSeen | undefined): string[] {
  const lines = doomed.flatMap(({ name, vmid, node, again }) => {
    const own = volumeLines(name, seen);
    const vm = `VM ${name} (${vmid} on ${node}) with its disk${again ? '; it is made anew, and empty' : ''}`;
    if (!own) return [`${vm}; every volume of local-path on it`];
    return own.length === 0 ? [`${vm}; no volume is tied to it`] : [vm, ...own];
  });
  return [...lines, ...untiedLines(seen), ...etcdLines(lab, doomed, seen?.members)];
}

/** The volumes that lie on a node; undefined where that could not be asked. */
export function volumeLines(name: string, seen: Pick<LossesSeen, 'volumes'> | undefined): string[] | undefined {
  if (!seen?.volumes.ok) return undefined;
  const own = seen.volumes.value.filter((volume) => volume.node === name);
  return own.map((volume) => `${name}: the volume ${volumeText(volume)}, which lies only there`);
}

/** The volumes that may lie on any node. */
export function untiedLines(seen: Pick<LossesSeen, 'volumes'> | undefined): string[] {
  const untied = seen?.volumes.ok ? seen.volumes.value.filter(({ node }) => node === undefined) : [];
  return untied.map((volume) => `the volume ${volumeText(volume)}, a folder that is tied to no node, may lie there`);
}

function volumeText({ name, claim, size, storageClass }: NodeVolume): string {
  return `${claim ?? name} (${[size, storageClass].filter(Boolean).join(', ')})`;
}

/** What of etcd is left. A member that does not answer counts as lost already. */
function etcdLines(lab: Lab, doomed: readonly Doomed[], members: LossesSeen['members'] | undefined): string[] {
  const goes = new Set(doomed.map(({ name }) => name));
  const known = members?.ok ? members.value : servers(lab.config).map(({ name }) => ({ name, ready: true }));
  const lost = known.filter(({ name }) => goes.has(name)).map(({ name }) => name);
  if (lost.length === 0) return [];
  const who = lost.length === 1 ? `the etcd member ${lost[0]}` : `the etcd members ${lost.join(', ')}`;
  if (lost.length === known.length) return [`${who}: the whole cluster, with every object in it`];
  const { needed } = quorum(known.length);
  const left = known.filter(({ name, ready }) => ready && !goes.has(name)).length;
  const outcome =
    left < needed
      ? 'the API stops'
      : left === needed
        ? 'the cluster goes on, and bears no further loss'
        : 'the cluster goes on';
  const source = members?.ok ? '' : ' (by homelab.yaml: the cluster could not be asked)';
  return [
    `${who}: ${left} of ${known.length} ${left === 1 ? 'is' : 'are'} left, ${needed} are needed: ${outcome}${source}`,
  ];
}

/** What could not be asked, and how old the last proven backup of each database server is. */
export function lossNotes(backup: Backup | undefined, seen: LossesSeen | undefined): Note[] {
  if (!seen) return [];
  const { volumes, backups } = seen;
  const unasked: Note[] = volumes.ok
    ? []
    : [{ level: 'warning', text: `which volumes lie only on these VMs could not be asked: ${volumes.reason}` }];
  return [...unasked, ...backupNotes(backup, backups)];
}

function backupNotes(backup: Backup | undefined, seen: LossesSeen['backups']): Note[] {
  if (!backup || !seen)
    return [{ level: 'warning', text: 'homelab.yaml has no `backup`: what databases hold is not backed up' }];
  if (!seen.ok) return [{ level: 'warning', text: `which backups there are could not be asked: ${seen.reason}` }];
  return seen.value.map(({ server, hours }): Note => {
    const fix = `npx tsx scripts/backup-postgres.ts run --server ${server}`;
    if (hours === undefined)
      return { level: 'warning', text: `there is no proven backup of the database server ${server}`, fix };
    const text = `the last proven backup of the database server ${server} is ${ageText(hours)} old`;
    return hours > backup.max_age_hours ? { level: 'warning', text, fix } : { level: 'info', text };
  });
}

function ageText(hours: number): string {
  if (hours < 1) return 'less than an hour';
  const whole = Math.floor(hours);
  if (whole < 48) return `${whole} hour${whole === 1 ? '' : 's'}`;
  return `${Math.floor(hours / 24)} days`;
}
