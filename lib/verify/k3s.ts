import type { StepResult } from '../apply.ts';
import { lastSeen } from '../deadline.ts';
import { messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { isDefaultClass, nodeState, readPatiently } from '../observe/k3s.ts';
import { factsOf } from '../plan/k3s-join.ts';
import { spelledOut } from '../plan/k3s-labels.ts';
import type { SeenK3s, SeenNode } from '../plan/k3s-seen.ts';
import type { Ports } from '../ports/types.ts';
import type { Proof } from '../step.ts';

/** Controllers act a moment after a node is Ready; what holds within this time is proven. */
const PATIENCE = 120;

/** Whether containerd on a GPU node knows NVIDIA's runtime, and whether the toolkit is installed at all. */
export type Runtime = 'runtime' | 'installed' | 'absent' | undefined;

/**
 * The cluster is the one of homelab.yaml: nodes, version, labels, taints, etcd's members, the default StorageClass,
 * NVIDIA's runtime. Where nothing was changed, what was seen before is the proof.
 */
export async function verifyK3s(
  lab: Lab,
  ports: Pick<Ports, 'kube' | 'clock' | 'ssh'>,
  { limit = [] }: { limit?: readonly string[] },
  _context: unknown,
  seen: SeenK3s,
  applied: readonly StepResult[],
): Promise<Proof[]> {
  const { cluster } = seen;
  if (applied.length === 0 && cluster.answers) {
    const before = within(limit, k3sProofs(lab, cluster.nodes, cluster.defaultClasses ?? []));
    if (hold(before))
      return [
        ...before,
        ...within(
          limit,
          runtimeProofs(lab, (name) => runtimeSeen(seen, name)),
        ),
      ];
  }
  const proofs = await lastSeen(PATIENCE, async () => within(limit, await tryOnce(lab, ports.kube)), hold, ports);
  const gpus = lab.config.k3s.nodes.filter(({ gpu }) => gpu).map(({ name }) => name);
  const runtimes = await Promise.all(gpus.map(async (name) => [name, await runtimeOf(name, ports.ssh)] as const));
  return [
    ...proofs,
    ...within(
      limit,
      runtimeProofs(lab, (name) => new Map(runtimes).get(name)),
    ),
  ];
}

function hold(proofs: readonly Proof[]): boolean {
  return proofs.every(({ ok, skipped }) => ok || skipped);
}

/** What --limit leaves out need not hold, and is not waited for. */
function within(limit: readonly string[], proofs: readonly Proof[]): Proof[] {
  const isOut = ({ ok, host }: Proof): boolean => !ok && limit.length > 0 && !!host && !limit.includes(host);
  return proofs.map((proof) =>
    isOut(proof) ? { ...proof, skipped: true, detail: `${proof.detail} (left out by --limit)` } : proof,
  );
}

async function tryOnce(lab: Lab, kube: Ports['kube']): Promise<Proof[]> {
  try {
    const [nodes, classes] = await Promise.all([
      kube.list('v1', 'Node'),
      kube.list('storage.k8s.io/v1', 'StorageClass'),
    ]);
    return k3sProofs(
      lab,
      nodes.map(nodeState),
      classes.filter(isDefaultClass).map(({ metadata }) => metadata.name),
    );
  } catch (error) {
    return [{ claim: 'the API server answers', ok: false, detail: messageOf(error) }];
  }
}

const RUNTIME = `if grep -q nvidia /var/lib/rancher/k3s/agent/etc/containerd/config.toml 2> /dev/null; then echo runtime
elif [ -x /usr/bin/nvidia-container-runtime ] || [ -x /usr/local/nvidia/toolkit/nvidia-container-runtime ]; then echo installed
else echo absent; fi`;

async function runtimeOf(name: string, ssh: Ports['ssh']): Promise<Runtime> {
  const answer = await readPatiently(ssh, name, ['sh', '-c', RUNTIME], { sudo: true, deadline: 30 });
  const said = answer.ok ? answer.value.stdout.trim() : '';
  return said === 'runtime' || said === 'installed' || said === 'absent' ? said : undefined;
}

function runtimeSeen(seen: SeenK3s, name: string): Runtime {
  const { nvidia } = factsOf(seen, name);
  return nvidia === undefined ? 'absent' : nvidia === 'runtime' ? 'runtime' : 'installed';
}

/** Pure: what was seen of the cluster proves. */
export function k3sProofs(lab: Lab, nodes: readonly SeenNode[], defaultClasses: readonly string[]): Proof[] {
  const { version, nodes: wanted } = lab.config.k3s;
  const servers = wanted.filter(({ role }) => role === 'server').map(({ name }) => name);
  const withRole = nodes.filter(({ labels }) => labels['node-role.kubernetes.io/control-plane'] === 'true');
  const voters = nodes.filter(({ voter }) => voter);
  return [
    ...wanted.flatMap((node) => {
      const found = nodes.find(({ name }) => name === node.name);
      return nodeProofs(node, found, version);
    }),
    sameNames(`${servers.length} servers`, servers, withRole),
    sameNames(`${servers.length} voting members of etcd, the servers`, servers, voters),
    defaultClass(lab, defaultClasses),
  ];
}

function nodeProofs(
  node: Lab['config']['k3s']['nodes'][number],
  found: SeenNode | undefined,
  version: string,
): Proof[] {
  const { name, labels, taints } = node;
  const claim = `${name} is Ready at ${version}`;
  if (!found) return [{ claim, ok: false, detail: 'it is not in the cluster', host: name }];
  const lacking = [
    ...Object.entries(labels).flatMap(([key, value]) => (found.labels[key] === value ? [] : [`${key}=${value}`])),
    ...taints.filter((taint) => !found.taints.includes(spelledOut(taint))),
  ];
  const proofs: Proof[] = [
    {
      claim,
      ok: found.ready && found.version === version,
      detail: `${found.ready ? 'Ready' : 'not Ready'}, ${found.version}`,
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

/** Pure: whether pods on nodes with a GPU can use it. A node without NVIDIA's toolkit has a note in the plan instead. */
export function runtimeProofs(lab: Lab, runtimeOn: (name: string) => Runtime): Proof[] {
  const details = { runtime: 'in config.toml', installed: 'the toolkit is there, and K3s does not use it' };
  return lab.config.k3s.nodes.flatMap(({ name, gpu }) => {
    const runtime = gpu ? runtimeOn(name) : 'absent';
    if (runtime === 'absent') return [];
    const detail = runtime ? details[runtime] : 'it does not answer';
    return [{ claim: `containerd on ${name} has NVIDIA's runtime`, ok: runtime === 'runtime', detail, host: name }];
  });
}

function sameNames(claim: string, wanted: readonly string[], nodes: readonly SeenNode[]): Proof {
  const found = nodes.map(({ name }) => name).sort();
  return { claim, ok: found.join() === [...wanted].sort().join(), detail: found.join(', ') || 'none' };
}

function defaultClass(lab: Lab, defaults: readonly string[]): Proof {
  const wanted = lab.config.storage_classes.find((c) => c.default)?.name ?? 'local-path';
  return {
    claim: `${wanted} is the default StorageClass`,
    ok: defaults.length === 1 && defaults[0] === wanted,
    detail: defaults.join(', ') || 'there is no default',
  };
}
