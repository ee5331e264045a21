import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { addressOf } from '../lookup.ts';
import type { VmState } from './provision-problems.ts';
import type { StateVm, VmChange } from './terraform-json.ts';

const MOST = 6;

/** What is done to each VM, a line a VM, as a person reads it. */
export function changeLine(
  lab: Lab,
  state: readonly StateVm[],
  { name, action, differences, restarts }: VmChange,
): string {
  const node = lab.config.k3s.nodes.find((one) => one.name === name);
  const shown = differences.slice(0, MOST).join(', ');
  const more = differences.length > MOST ? ` and ${differences.length - MOST} more` : '';
  const where = placeOf(state, name);
  switch (action) {
    case 'create':
      return node ? createLine(lab, node) : `create ${name}`;
    case 'update':
      return `change ${name} in place: ${shown}${more}${restarts ? ' (restarts it)' : ''}`;
    case 'replace':
      return `REPLACE ${name} (${where}, destroyed and made anew): ${shown || 'as Terraform was told'}${more}`;
    case 'delete':
      return `DESTROY ${name} (${where})${node ? '' : ': homelab.yaml does not have it'}`;
  }
}

/** What is known before Terraform can be asked: from homelab.yaml and Proxmox. */
export function stateLines(lab: Lab, state: readonly StateVm[], states: ReadonlyMap<K3sNode, VmState>): string[] {
  const lines = [...states].flatMap(([node, found]) => {
    if (found.is === 'absent') return [createLine(lab, node)];
    return found.is === 'lost' ? [`import ${node.name} (VM ${node.vmid} on ${node.node})`] : [];
  });
  const tainted = state.filter((vm) => vm.tainted && [...states.keys()].some(({ name }) => name === vm.name));
  lines.push(...tainted.map(({ name, vmid }) => `keep ${name} (VM ${vmid}), and finish it`));
  const there = [...states].filter(([, { is }]) => is === 'managed' || is === 'lost').map(([{ name }]) => name);
  if (there.length > 0)
    lines.push(`what differs of ${there.join(', ')} is known after that; what destroys or restarts one stops the run`);
  return lines;
}

/** "VM 200 on pve-02". */
export function placeOf(state: readonly StateVm[], name: string): string {
  const vm = state.find((one) => one.name === name);
  return vm ? `VM ${vm.vmid} on ${vm.node}` : 'VM ?';
}

/** "to create: k3s-cp-01, k3s-cp-02; to change: k3s-gpu-01". */
export function summaryOf(changes: readonly VmChange[]): string {
  const words = { create: 'create', update: 'change', replace: 'replace', delete: 'destroy' } as const;
  return (Object.keys(words) as VmChange['action'][])
    .flatMap((action) => {
      const names = changes.filter((change) => change.action === action).map(({ name }) => name);
      return names.length > 0 ? [`to ${words[action]}: ${names.join(', ')}`] : [];
    })
    .join('; ');
}

function createLine(lab: Lab, node: K3sNode): string {
  const { name, vmid, cores, memory_gib, disk_gib, gpu } = node;
  const storage = node.storage ?? lab.config.template.storage;
  const parts = [`${cores} cores`, `${memory_gib} GiB`, `${disk_gib} GiB on ${storage}`, addressOf(lab, name)];
  return `create ${name} (VM ${vmid} on ${node.node}: ${[...parts, ...(gpu ? [`GPU ${gpu}`] : [])].join(', ')})`;
}
