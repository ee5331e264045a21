import { lastSeen } from '../deadline.ts';
import { messageOf } from '../errors.ts';
import { isTrue } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { nodeState } from '../observe/k3s.ts';
import { spelledOut } from '../plan/k3s-labels.ts';
import type { Ports } from '../ports/types.ts';
import type { KubeObject, Proof } from '../step.ts';

/** Controllers act a moment after a node is Ready; what holds within this time is proven. */
const PATIENCE = 120;

/** The cluster is the one of homelab.yaml: nodes, version, labels, taints, etcd's members, the default StorageClass. */
export async function verifyK3s(lab: Lab, { kube, clock }: Pick<Ports, 'kube' | 'clock'>): Promise<Proof[]> {
  const hold = (proofs: Proof[]): boolean => proofs.every(({ ok }) => ok);
  return lastSeen(PATIENCE, () => tryOnce(lab, kube), hold, { clock });
}

async function tryOnce(lab: Lab, kube: Ports['kube']): Promise<Proof[]> {
  try {
    const [nodes, classes] = await Promise.all([
      kube.list('v1', 'Node'),
      kube.list('storage.k8s.io/v1', 'StorageClass'),
    ]);
    return k3sProofs(lab, nodes, classes);
  } catch (error) {
    return [{ claim: 'the API server answers', ok: false, detail: messageOf(error) }];
  }
}

/** Pure: what the objects prove. */
export function k3sProofs(lab: Lab, nodes: readonly KubeObject[], classes: readonly KubeObject[]): Proof[] {
  const { version, nodes: wanted } = lab.config.k3s;
  const servers = wanted.filter(({ role }) => role === 'server').map(({ name }) => name);
  const withRole = nodes.filter(
    ({ metadata }) => metadata.labels?.['node-role.kubernetes.io/control-plane'] === 'true',
  );
  const voters = nodes.filter((node) => isTrue(node, 'EtcdIsVoter'));
  return [
    ...wanted.flatMap((node) => {
      const found = nodes.find(({ metadata }) => metadata.name === node.name);
      return nodeProofs(node, found, version);
    }),
    sameNames(`${servers.length} servers`, servers, withRole),
    sameNames(`${servers.length} voting members of etcd, the servers`, servers, voters),
    defaultClass(lab, classes),
  ];
}

function nodeProofs(
  node: Lab['config']['k3s']['nodes'][number],
  found: KubeObject | undefined,
  version: string,
): Proof[] {
  const { name, labels, taints } = node;
  const claim = `${name} is Ready at ${version}`;
  if (!found) return [{ claim, ok: false, detail: 'it is not in the cluster', host: name }];
  const seen = nodeState(found);
  const lacking = [
    ...Object.entries(labels).flatMap(([key, value]) => (seen.labels[key] === value ? [] : [`${key}=${value}`])),
    ...taints.filter((taint) => !seen.taints.includes(spelledOut(taint))),
  ];
  const proofs: Proof[] = [
    {
      claim,
      ok: seen.ready && seen.version === version,
      detail: `${seen.ready ? 'Ready' : 'not Ready'}, ${seen.version}`,
      host: name,
    },
  ];
  const wanted = [...Object.entries(labels).map(([key, value]) => `${key}=${value}`), ...taints];
  if (wanted.length > 0)
    proofs.push({
      claim: `${name} has its labels and taints`,
      ok: lacking.length === 0,
      detail: lacking.length === 0 ? wanted.join(', ') : `without ${lacking.join(', ')}`,
      host: name,
    });
  return proofs;
}

function sameNames(claim: string, wanted: readonly string[], nodes: readonly KubeObject[]): Proof {
  const found = nodes.map(({ metadata }) => metadata.name).sort();
  return { claim, ok: found.join() === [...wanted].sort().join(), detail: found.join(', ') || 'none' };
}

function defaultClass(lab: Lab, classes: readonly KubeObject[]): Proof {
  const wanted = lab.config.storage_classes.find((c) => c.default)?.name ?? 'local-path';
  const defaults = classes
    .filter((c) => c.metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true')
    .map(({ metadata }) => metadata.name);
  return {
    claim: `${wanted} is the default StorageClass`,
    ok: defaults.length === 1 && defaults[0] === wanted,
    detail: defaults.join(', ') || 'there is no default',
  };
}
