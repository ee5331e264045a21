import type { Config, K3sNode } from '../config/schema.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import type { Note } from '../step.ts';
import { parseNotes, staleness } from './template-hash.ts';

const GIB = 1024 ** 3;
const blocker = (text: string, fix?: string): Note => ({ level: 'blocker', text, fix });
const warning = (text: string, fix?: string): Note => ({ level: 'warning', text, fix });

/** What the Proxmox nodes must have for VMs that are to be made: storage, memory, GPU, template. */
export function shortages(config: Config, seen: ProvisionSeen, made: readonly K3sNode[]): Note[] {
  const onNodes = [...new Set(made.map(({ node }) => node))];
  return [
    ...onNodes.flatMap((name) => memory(config, seen, name, made)),
    ...onNodes.flatMap((name) => storage(config, seen, name, made)),
    ...made.flatMap((node) => gpu(seen, node)),
    ...onNodes.flatMap((name) => template(seen, name)),
  ];
}

function memory(config: Config, seen: ProvisionSeen, name: string, made: readonly K3sNode[]): Note[] {
  if (!seen.nodes.ok) return [blocker(`the Proxmox nodes cannot be read: ${seen.nodes.reason}`)];
  const found = seen.nodes.value.find((node) => node.name === name);
  if (!found) return [blocker(`the cluster has no node ${name}`, 'correct proxmox.nodes in homelab.yaml')];
  if (!found.online) return [blocker(`${name} is not online`, 'start it, or wait until it is back')];
  const sum = (nodes: readonly K3sNode[]): number =>
    nodes.filter(({ node }) => node === name).reduce((gib, node) => gib + node.memory_gib, 0);
  const all = sum(config.k3s.nodes);
  const total = Math.floor(found.memoryBytes / GIB);
  if (all > total)
    return [
      blocker(
        `${name} has ${total} GiB of memory, its VMs want ${all} GiB`,
        'lower memory_gib, or move a VM to another node',
      ),
    ];
  const free = Math.floor(found.freeMemoryBytes / GIB);
  const wanted = sum(made);
  return wanted > free ? [warning(`${name} has ${free} GiB of memory free, the new VMs want ${wanted} GiB`)] : [];
}

function storage(config: Config, seen: ProvisionSeen, name: string, made: readonly K3sNode[]): Note[] {
  const storages = seen.storages[name];
  if (!storages?.ok) return [blocker(`the storages of ${name} cannot be read: ${storages?.reason ?? 'not asked'}`)];
  const wanted = new Map<string, number>();
  for (const node of made.filter((n) => n.node === name)) {
    const key = node.storage ?? config.template.storage;
    wanted.set(key, (wanted.get(key) ?? 0) + node.disk_gib);
  }
  return [...wanted].flatMap(([key, gib]) => {
    const found = storages.value.find((s) => s.name === key);
    if (!found?.active || !found.content.includes('images'))
      return [
        blocker(
          `storage ${key} ${found ? (found.active ? 'takes no VM disks' : 'is not active') : 'does not exist'} on ${name}`,
          'correct storage in homelab.yaml, or the storage (Datacenter → Storage)',
        ),
      ];
    const free = Math.floor(found.availableBytes / GIB);
    // Thin storages may be promised more than they have.
    return gib > free ? [warning(`${key} of ${name} has ${free} GiB free, the new disks want up to ${gib} GiB`)] : [];
  });
}

function gpu({ mappings }: ProvisionSeen, node: K3sNode): Note[] {
  if (!node.gpu) return [];
  if (!mappings.ok) return [blocker(`the PCI resource mappings cannot be read: ${mappings.reason}`)];
  if (mappings.value[node.gpu]?.includes(node.node)) return [];
  const there = mappings.value[node.gpu];
  return [
    blocker(
      there
        ? `the mapping ${node.gpu} has no device on ${node.node} (but on ${there.join(', ')})`
        : `there is no PCI mapping ${node.gpu}`,
      `Datacenter → Resource Mappings → add ${node.gpu} with a device of ${node.node}`,
    ),
  ];
}

function template({ placement, wanted }: ProvisionSeen, node: string): Note[] {
  const at = placement.for(node);
  if (at.is === 'current') return [];
  const missing = (text: string): Note => ({
    ...blocker(text, 'npx tsx scripts/build-template.ts'),
    waitsFor: 'build-template',
  });
  const old = at.old && parseNotes(at.old.description);
  if (at.is !== 'absent')
    return [missing(`${node}: VM ${at.vmid}, which is to be the template on ${at.node}, is not finished`)];
  if (!at.old || !old || !wanted) return [missing(`${node}: there is no template of ours on ${at.node}`)];
  return [missing(`${node}: template ${at.old.vmid} on ${at.node} is ${staleness(old, wanted)}`)];
}
