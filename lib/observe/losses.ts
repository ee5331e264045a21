import { join } from 'node:path';
import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { dig, mapsIn, textOf, textsIn } from '../loose.ts';
import type { RunContext } from '../main.ts';
import { newestProven } from '../plan/backup-newest.ts';
import type { LossesSeen, NodeVolume } from '../plan/losses.ts';
import type { Answer, KubeReader, Readers } from '../ports/types.ts';
import { TOKEN } from '../render/k3s-config.ts';
import type { KubeObject } from '../step.ts';
import { nodeState } from './k3s.ts';

const HOUR = 3_600_000;

/** What lies only on the lab's VMs: volumes, etcd, and how old the backups are. Asked only when a VM would go. */
export async function observeLosses(
  lab: Lab,
  readers: Pick<Readers, 'kube' | 'files' | 'clock' | 'exec'>,
  context: Pick<RunContext, 'endpoints'>,
): Promise<LossesSeen> {
  const { kube } = readers;
  const [cluster, backups, clusterMade] = await Promise.all([
    answered(() => readCluster(kube)),
    lab.config.backup && answered(() => readBackups(lab, readers, context)),
    readers.files.exists(join(lab.paths.secrets, TOKEN)),
  ]);
  const part = <T>(pick: (value: Cluster) => T): Answer<T> =>
    cluster.ok ? { ok: true, value: pick(cluster.value) } : cluster;
  return { volumes: part(({ volumes }) => volumes), members: part(({ members }) => members), clusterMade, backups };
}

type Cluster = { volumes: NodeVolume[]; members: { name: string; ready: boolean }[] };

async function readCluster(kube: KubeReader): Promise<Cluster> {
  const reachable = await kube.reachable();
  if (!reachable.ok) throw new HomelabError(reachable.reason);
  const [volumes, nodes] = await Promise.all([kube.list('v1', 'PersistentVolume'), kube.list('v1', 'Node')]);
  const members = nodes
    .map(nodeState)
    .filter(({ labels }) => labels['node-role.kubernetes.io/etcd'] === 'true')
    .map(({ name, ready }) => ({ name, ready }));
  return { volumes: volumes.flatMap(nodeVolumes), members };
}

/**
 * A volume, once for each node to which its affinity ties it; without a node where it is a folder of nodes and nothing
 * says of which. One that any node can mount is none.
 */
export function nodeVolumes(volume: KubeObject): NodeVolume[] {
  const terms = mapsIn(dig(volume, 'spec', 'nodeAffinity', 'required', 'nodeSelectorTerms'));
  const nodes = terms
    .flatMap(({ matchExpressions }) => mapsIn(matchExpressions))
    .filter(({ key, operator }) => key === 'kubernetes.io/hostname' && operator === 'In')
    .flatMap(({ values }) => textsIn(values));
  const isFolder = dig(volume, 'spec', 'hostPath') !== undefined || dig(volume, 'spec', 'local') !== undefined;
  const places = nodes.length === 0 && isFolder ? [undefined] : [...new Set(nodes)];
  const claim = dig(volume, 'spec', 'claimRef');
  return places.map((node) => ({
    node,
    name: volume.metadata.name,
    claim: claim ? `${dig(claim, 'namespace')}/${dig(claim, 'name')}` : undefined,
    size: String(dig(volume, 'spec', 'capacity', 'storage') ?? ''),
    storageClass: textOf(dig(volume, 'spec', 'storageClassName')),
  }));
}

async function readBackups(
  lab: Lab,
  readers: Pick<Readers, 'files' | 'clock' | 'exec'>,
  context: Pick<RunContext, 'endpoints'>,
): Promise<{ server: string; hours?: number }[]> {
  const { observeSets } = await import('./backup.ts');
  const { target, servers, now } = await observeSets(lab, readers, {}, context);
  if (!target.ok) throw new HomelabError(target.reason);
  return servers.map(({ name, sets }) => {
    const newest = newestProven(sets);
    return { server: name, hours: newest && (now - newest.time) / HOUR };
  });
}

/** What was foreseen to go wrong is a reason. */
async function answered<T>(read: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { ok: true, value: await read() };
  } catch (error) {
    if (error instanceof HomelabError) return { ok: false, reason: error.message };
    throw error;
  }
}
