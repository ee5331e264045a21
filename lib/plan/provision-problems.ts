import type { Config, K3sNode } from '../config/schema.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import type { VmSeen } from '../observe/vms.ts';
import { marker } from '../render/tfvars.ts';
import type { Note } from '../step.ts';
import { parseNotes } from './template-hash.ts';
import { addressIn } from './terraform-json.ts';

const GIB = 1024 ** 3;
const blocker = (text: string, fix?: string): Note => ({ level: 'blocker', text, fix });
const warning = (text: string, fix?: string): Note => ({ level: 'warning', text, fix });

/** What a VM of homelab.yaml is in reality. */
export type VmState =
  | { is: 'absent' | 'managed' }
  /** Ours by its mark, and not in Terraform's state: an apply was interrupted. */
  | { is: 'lost'; vm: VmSeen }
  | { is: 'stranger' | 'elsewhere' | 'locked'; vm: VmSeen };

/** Whether a node's VM is there and ours, is missing, or is somebody else's. @param managed VMIDs in Terraform's state */
export function vmStateOf(lab: string, node: K3sNode, vms: readonly VmSeen[], managed: ReadonlySet<number>): VmState {
  const vm = vms.find(({ vmid }) => vmid === node.vmid);
  if (!vm) return { is: 'absent' };
  if (vm.lock) return { is: 'locked', vm };
  if (managed.has(vm.vmid)) return { is: 'managed' };
  const ours = vm.kind === 'qemu' && !vm.template && vm.description.trim() === marker(lab, node.name);
  if (!ours) return { is: 'stranger', vm };
  return vm.node === node.node ? { is: 'lost', vm } : { is: 'elsewhere', vm };
}

/** VMIDs and names that somebody else holds. Strangers are never adopted. */
export function strangers(config: Config, vms: readonly VmSeen[], states: ReadonlyMap<K3sNode, VmState>): Note[] {
  const notes: Note[] = [];
  for (const [node, state] of states) {
    if (state.is === 'stranger')
      notes.push(
        blocker(
          `VMID ${node.vmid} is wanted for ${node.name}, and taken by "${state.vm.name}" on ${state.vm.node}, which this lab did not make`,
          `choose another vmid in homelab.yaml; if it is ${node.name}, adopt it: terraform -chdir=.state/${config.name}/terraform import '${addressIn(node.name)}' ${state.vm.node}/${node.vmid}`,
        ),
      );
    if (state.is === 'elsewhere')
      notes.push(
        blocker(
          `${node.name} (VM ${node.vmid}) is on ${state.vm.node}, homelab.yaml says ${node.node}`,
          `migrate it to ${node.node}, or correct homelab.yaml`,
        ),
      );
    if (state.is === 'locked')
      notes.push(
        blocker(
          `VM ${node.vmid} on ${state.vm.node} is locked (${state.vm.lock})`,
          `a task is under way: wait for it; when there is none, qm unlock ${node.vmid} on ${state.vm.node}`,
        ),
      );
    for (const other of vms.filter(({ name, vmid }) => name === node.name && vmid !== node.vmid))
      notes.push(
        blocker(
          `the name ${node.name} is taken by VM ${other.vmid} on ${other.node}`,
          `rename that VM, or set vmid: ${other.vmid} if it is this one`,
        ),
      );
  }
  return notes;
}

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

function template({ vms, placement, wanted }: ProvisionSeen, node: string): Note[] {
  const at = placement.for(node);
  const found = vms.ok ? vms.value.find(({ vmid }) => vmid === at.vmid) : undefined;
  const fix = 'npx tsx scripts/build-template.ts';
  if (!found?.template || found.node !== at.node)
    return [blocker(`there is no template ${at.vmid} on ${at.node}`, fix)];
  const stamp = parseNotes(found.description);
  if (!stamp)
    return [blocker(`template ${at.vmid} on ${at.node} ("${found.name}") was not made by build-template`, fix)];
  return stamp.hash === wanted?.hash ? [] : [blocker(`template ${at.vmid} on ${at.node} is stale`, fix)];
}
