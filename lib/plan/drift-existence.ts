import type { K3sNode } from '../config/schema.ts';
import { marker } from '../render/tfvars.ts';
import type { Drift, DriftSources } from './drift.ts';
import { factsOfProxmox, type ProxmoxVm, type Source } from './drift-values.ts';
import { addressIn, type StateVm } from './terraform-json.ts';

/**
 * The VMs on Proxmox that are a node's: by our mark in their notes, or, where that is gone, by the VMID in the state and
 * their name. A stranger at its VMID is none; what cannot be read is taken for what it should be. The first is the one that the state or homelab.yaml means.
 */
export function locate(node: K3sNode, inState: StateVm | undefined, { config, proxmox }: DriftSources): ProxmoxVm[] {
  const mark = marker(config.name, node.name);
  const marked = (proxmox ?? []).filter(({ description }) => description.trim() === mark);
  const rank = ({ vmid }: ProxmoxVm): number => (vmid === inState?.vmid ? 0 : vmid === node.vmid ? 1 : 2);
  if (marked.length > 0) return [...marked].sort((a, b) => rank(a) - rank(b));
  return (proxmox ?? []).filter(({ vmid, name, config }) =>
    config ? vmid === inState?.vmid && name === node.name : vmid === (inState ?? node).vmid,
  );
}

/** Whether a node of homelab.yaml is there, once. */
export function existenceOf(
  node: K3sNode,
  inState: StateVm | undefined,
  [vm, ...copies]: readonly ProxmoxVm[],
  { state, proxmox }: DriftSources,
): Drift[] {
  const values: Drift['values'] = {
    'homelab.yaml': 'wants it',
    ...(state && { state: inState ? `knows VM ${inState.vmid}` : 'does not know it' }),
    ...(proxmox && { Proxmox: placeOf(vm) }),
  };
  const finding = (odd: Source[], more: Partial<Drift> = {}): Drift => ({
    ...{ vm: node.name, attribute: 'existence', values, odd },
    ...more,
  });
  const found: Drift[] = [];
  if (proxmox && !vm)
    found.push(
      inState
        ? finding(['Proxmox'], { cause: 'it was deleted by hand', fix: 'provision makes it anew' })
        : finding(['homelab.yaml'], { pending: true }),
    );
  if (vm && state && !inState) found.push(finding(['state'], { fix: 'provision imports it' }));
  for (const copy of copies)
    found.push(
      finding(['Proxmox'], {
        values: { ...values, Proxmox: `${placeOf(vm)}, and VM ${copy.vmid} ("${copy.name}") on ${copy.node}` },
        cause: 'two VMs have its mark in their notes: a clone made by hand has the address too',
        fix: `remove the mark from the notes of VM ${copy.vmid}, or the VM`,
      }),
    );
  return found;
}

/** What is no node of homelab.yaml: in the state, with our mark on Proxmox, in the leases; and what is held twice. */
export function leftOver(seen: DriftSources): Drift[] {
  const { config, leases, state = [], proxmox = [] } = seen;
  const wanted = new Set(config.k3s.nodes.map(({ name }) => name));
  const gone = state.filter(({ name }) => !wanted.has(name));
  const ours = new RegExp(`^${marker(config.name, '')}(\\S+)$`);
  const unknown = proxmox.filter(({ vmid, description }) => {
    const name = ours.exec(description.trim())?.[1];
    return name !== undefined && !wanted.has(name) && !gone.some((vm) => vm.vmid === vmid);
  });
  return [
    ...gone.map((vm) => goneFromConfig(vm, seen)),
    ...unknown.map(
      (vm): Drift => ({
        vm: ours.exec(vm.description.trim())?.[1] ?? vm.name,
        attribute: 'existence',
        values: { 'homelab.yaml': 'does not have it', state: 'does not know it', Proxmox: placeOf(vm) },
        odd: ['Proxmox'],
        cause: 'it has the mark of this lab in its notes, and nobody knows it',
        fix: 'put it into homelab.yaml again, or remove it in Proxmox',
      }),
    ),
    ...twiceInState(seen),
    ...leases.filter(({ name }) => !wanted.has(name)).map(({ name, address }) => leaseOfNobody(name, address)),
    ...twiceLeased(seen),
    ...sameAddress(seen),
  ];
}

/** VMs that are none of ours, or of nobody, and have the address of one: as they are configured, or as they report. */
function sameAddress(seen: DriftSources): Drift[] {
  const { config, leases, state, proxmox = [] } = seen;
  const ours = new Set(
    config.k3s.nodes.flatMap((node) =>
      locate(
        node,
        state?.find(({ name }) => name === node.name),
        seen,
      ),
    ),
  );
  return proxmox
    .filter((vm) => !ours.has(vm))
    .flatMap((vm) =>
      leases
        .filter(({ address }) => factsOfProxmox(vm).address === address || vm.agent?.includes(address))
        .map(
          ({ name, address }): Drift => ({
            ...{ vm: name, attribute: 'lease', odd: ['Proxmox'] },
            values: {
              'homelab.lock.yaml': `gives ${address} to it`,
              Proxmox: `has VM ${vm.vmid} ("${vm.name}") on ${vm.node} with it too`,
            },
            fix: `give VM ${vm.vmid} another address`,
          }),
        ),
    );
}

function goneFromConfig({ name, vmid }: StateVm, { config, proxmox }: DriftSources): Drift {
  const vm = proxmox?.find((one) => one.vmid === vmid);
  return {
    vm: name,
    attribute: 'existence',
    values: {
      'homelab.yaml': 'does not have it',
      state: `knows VM ${vmid}`,
      ...(proxmox && { Proxmox: placeOf(vm) }),
    },
    odd: proxmox && !vm ? ['state'] : ['homelab.yaml'],
    fix:
      proxmox && !vm
        ? `terraform state rm '${addressIn(name)}' in .state/${config.name}/terraform`
        : 'provision would destroy it; put it into homelab.yaml again to keep it',
  };
}

function twiceInState({ state = [] }: DriftSources): Drift[] {
  return state.flatMap(({ name, vmid }, i): Drift[] => {
    const other = state.slice(0, i).find((vm) => vm.vmid === vmid && vmid !== 0);
    if (!other) return [];
    return [
      {
        ...{
          vm: name,
          attribute: 'existence',
          values: { state: `knows VM ${vmid}, which is that of ${other.name} too` },
        },
        ...{ odd: ['state'], fix: 'take the wrong one out: terraform state rm' },
      },
    ];
  });
}

function leaseOfNobody(name: string, address: string): Drift {
  return {
    vm: name,
    attribute: 'lease',
    values: { 'homelab.yaml': 'has no such node', 'homelab.lock.yaml': `keeps ${address}` },
    odd: ['homelab.lock.yaml'],
    fix: `npx tsx scripts/network.ts release ${name}`,
  };
}

function twiceLeased({ leases }: DriftSources): Drift[] {
  return leases.flatMap(({ name, address }, i): Drift[] => {
    const other = leases.slice(0, i).find((lease) => lease.address === address);
    if (!other) return [];
    return [
      {
        ...{ vm: name, attribute: 'lease', odd: ['homelab.lock.yaml'] },
        values: { 'homelab.lock.yaml': `keeps ${address}, which ${other.name} has too` },
        fix: `npx tsx scripts/network.ts release ${name}`,
      },
    ];
  });
}

function placeOf(vm: ProxmoxVm | undefined): string {
  return vm ? `has VM ${vm.vmid} on ${vm.node}` : 'does not have it';
}
