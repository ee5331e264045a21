import type { Lab } from '../lab-context.ts';
import { addressOf, servers } from '../lookup.ts';
import type { Args, RunContext } from '../main.ts';
import type { LossesSeen } from '../plan/losses.ts';
import type { Granted } from '../plan/privileges.ts';
import { doomedVms } from '../plan/provision-destroy.ts';
import { lockedForProvision } from '../plan/provision-locks.ts';
import { otherLabs } from '../plan/provision-problems.ts';
import { takesAway } from '../plan/provision-quorum.ts';
import { looksAtVms } from '../plan/provision-terraform.ts';
import { placementOf } from '../plan/template.ts';
import { wantedStamp } from '../plan/template-build.ts';
import type { TemplateStamp } from '../plan/template-hash.ts';
import { mayBeTemplate, type Placement } from '../plan/template-placement.ts';
import type { VmChange } from '../plan/terraform-json.ts';
import { isTrusted } from '../plan/trust.ts';
import type { Answer, PveReader, Readers } from '../ports/types.ts';
import { renderTfvars } from '../render/tfvars.ts';
import { probeNetwork, readTaken, type TakenAddress } from './addresses.ts';
import { readApi } from './api.ts';
import { type GuestSeen, readGuest } from './guests.ts';
import { endOfLeftover } from './leftovers.ts';
import { observeLosses } from './losses.ts';
import { readSources, type TemplateSources } from './template.ts';
import { askTerraform, readTerraform, type TerraformSeen, terraformFolder } from './terraform.ts';
import type { TrustSeen } from './trust.ts';
import { readStorages, type StorageSeen, settledVms, type VmSeen, withNotes } from './vms.ts';

export type NodeSeen = { name: string; online: boolean; memoryBytes: number; freeMemoryBytes: number };

export type ProvisionSeen = {
  sources: TemplateSources;
  placement: Placement;
  /** The template that homelab.yaml wants now; undefined without a public key. */
  wanted?: TemplateStamp;
  vms: Answer<VmSeen[]>;
  nodes: Answer<NodeSeen[]>;
  /** What the token may, by path. */
  granted: Answer<Granted>;
  storages: Record<string, Answer<StorageSeen[]>>;
  /** Nodes of each PCI resource mapping. Only asked when a VM wants a GPU. */
  mappings: Answer<Record<string, string[]>>;
  terraform: TerraformSeen;
  /** How Terraform recognises Proxmox, where nodes are pinned by their fingerprints. */
  trust?: TrustSeen;
  /** Rendered variables; undefined without a public key. */
  variables?: string;
  /** What Terraform would do; undefined when it cannot be asked yet. */
  changes?: Answer<VmChange[]>;
  /** Running VMs whose agent does not answer. */
  silentAgents: string[];
  guests: Record<string, GuestSeen>;
  /** What lies only on VMs that would be replaced or destroyed, and etcd's members; asked only when VMs would go, or servers restart. */
  losses?: LossesSeen;
  /** Addresses that are given next, and that somebody else has. */
  taken: TakenAddress[];
  /** Why the network could not be asked whether these are free. */
  unasked?: string;
};

/** VMs, nodes and storages of Proxmox, the guests in the VMs, and what Terraform would do. */
export async function observeProvision(
  lab: Lab,
  readers: Readers,
  args: Args,
  context: RunContext,
): Promise<ProvisionSeen> {
  const { config } = lab;
  const { pve } = readers;
  const { nodes } = config.k3s;
  const wait = !args.dryRun && !args.check;
  const limit = vmsInLimit(config, args);
  const imports = Array.isArray(args.import) ? args.import.map(String) : [];
  if (wait) await endOfLeftover('terraform', `-chdir=${terraformFolder(lab)}`, readers, context);
  const names = new Set(nodes.map(({ name }) => name));
  const serverNames = new Set(servers(config).map(({ name }) => name));
  const vmids = new Set(nodes.map(({ vmid }) => vmid));
  const proxmoxNodes = config.proxmox.nodes.map(({ name }) => name);
  const [sources, terraform] = await Promise.all([
    readSources(lab, readers.files, context),
    readTerraform(lab, readers),
  ]);
  const wanted = wantedStamp(lab, sources);
  const isNode = ({ vmid, name }: { vmid: number; name: string }): boolean => vmids.has(vmid) || names.has(name);
  const isTemplate = mayBeTemplate(config);
  const isKnown = ({ vmid, name }: { vmid: number; name: string }): boolean =>
    nodes.some((node) => node.vmid === vmid && node.name === name) && terraform.state.some((vm) => vm.vmid === vmid);
  const storages = await readStorages(pve, proxmoxNodes);
  const [listed, nodesSeen, granted, mappings, { api, trust }] = await Promise.all([
    // The list says enough of VMs that Terraform's state knows: its refresh reads their configuration anyway.
    settledVms(pve, readers.clock, (vm) => (isNode(vm) && !isKnown(vm)) || isTemplate(vm), {
      ...{ wait, say: context.say },
      held: (all) =>
        lockedForProvision(
          lab,
          all,
          { state: terraform.state, storages, wanted },
          { limit, imports, destroy: args.destroy === true },
        ),
    }),
    readNodes(pve),
    pve.get<Granted>('/access/permissions'),
    nodes.some(({ gpu }) => gpu) ? readMappings(pve) : { ok: true as const, value: {} },
    readApi(lab, readers, context, proxmoxNodes[0] ?? ''),
  ]);
  // Of those that would be destroyed it must be known whose they are.
  const doomed = terraform.state.filter(({ vmid }) => args.destroy || !vmids.has(vmid));
  const vms = await withNotes(pve, listed, new Set(doomed.map(({ vmid }) => vmid)));
  const placement = placementOf(lab, { storages, vms, wanted });
  const guests = vms.ok ? await readGuests(lab, readers, vms.value) : {};
  const gives = vms.ok && !args.destroy ? vms.value : undefined;
  const taken = gives ? await readTaken(lab, pve, gives, limit) : [];
  const network = gives ? await probeNetwork(lab, readers, gives, limit) : { taken: [] };
  const variables =
    sources.publicKey &&
    renderTfvars(config, {
      endpoint: `${api}/`,
      addresses: new Map(nodes.map(({ name }) => [name, addressOf(lab, name)])),
      publicKey: sources.publicKey,
      placement,
    });
  const seen = { sources, placement, wanted, vms, nodes: nodesSeen, granted, storages, mappings };
  const silentAgents = Object.keys(guests).filter((name) => guests[name]?.running && !guests[name]?.agent.ok);
  const refresh = looksAtVms({ silentAgents, vms, terraform }, limit);
  // Whose VMs they are that Terraform does not look at, only their notes say.
  const noted = refresh ? vms : await withNotes(pve, vms, vmids);
  const asked =
    variables &&
    vms.ok &&
    isTrusted(trust) &&
    !args.destroy &&
    otherLabs(lab, terraform).length === 0 &&
    isWhole(vms.value, terraform, names, limit)
      ? await askTerraform(lab, readers, context, terraform, {
          variables,
          targets: limit ?? [],
          refresh,
          wait,
        })
      : undefined;
  const changes = asked === 'init' ? undefined : asked;
  const goes = args.destroy
    ? doomedVms(terraform.state, limit).length > 0
    : changes?.ok === true &&
      changes.value.some((change) => takesAway(change) && (!change.restarts || serverNames.has(change.name)));
  const losses = goes ? await observeLosses(lab, readers, context) : undefined;
  return {
    ...{ losses, changes, trust },
    ...{
      ...seen,
      vms: noted,
      variables,
      silentAgents,
      guests,
      taken: [...taken, ...network.taken],
      unasked: network.unasked,
    },
    terraform: asked === 'init' ? { ...terraform, initialised: false } : terraform,
  };
}

/** VMs among the names of --limit; undefined when it was not given. */
export function vmsInLimit({ k3s }: Lab['config'], { limit }: Args): string[] | undefined {
  if (!Array.isArray(limit) || limit.length === 0) return undefined;
  return k3s.nodes.map(({ name }) => name).filter((name) => limit.includes(name));
}

/** Whether Terraform's state knows every VM that is there; what it does not know it would create. */
function isWhole(
  vms: readonly VmSeen[],
  { state }: TerraformSeen,
  names: ReadonlySet<string>,
  limit: readonly string[] | undefined,
): boolean {
  const known = new Set(state.map(({ vmid }) => vmid));
  const tainted = state.some((vm) => vm.tainted && (!limit || limit.includes(vm.name)));
  return !tainted && vms.every((vm) => !names.has(vm.name) || known.has(vm.vmid));
}

async function readGuests(lab: Lab, readers: Readers, vms: readonly VmSeen[]): Promise<Record<string, GuestSeen>> {
  const entries = lab.config.k3s.nodes.flatMap((node) => {
    const vm = vms.find(({ vmid, name, kind }) => vmid === node.vmid && name === node.name && kind === 'qemu');
    return vm ? [readGuest(readers, vm).then((guest): [string, GuestSeen] => [node.name, guest])] : [];
  });
  return Object.fromEntries(await Promise.all(entries));
}

type NodeStatus = { node: string; status?: string; maxmem?: number; mem?: number };

async function readNodes(pve: PveReader): Promise<Answer<NodeSeen[]>> {
  const answer = await pve.get<NodeStatus[]>('/nodes');
  if (!answer.ok) return answer;
  const value = answer.value.map(({ node, status, maxmem = 0, mem = 0 }) => ({
    name: node,
    online: status === 'online',
    memoryBytes: maxmem,
    freeMemoryBytes: maxmem - mem,
  }));
  return { ok: true, value };
}

async function readMappings(pve: PveReader): Promise<Answer<Record<string, string[]>>> {
  const answer = await pve.get<{ id: string; map: string[] }[]>('/cluster/mapping/pci');
  if (!answer.ok) return answer;
  const nodesOf = (map: string[]): string[] => map.flatMap((entry) => /(?:^|,)node=([^,]+)/.exec(entry)?.[1] ?? []);
  return { ok: true, value: Object.fromEntries(answer.value.map(({ id, map }) => [id, nodesOf(map)])) };
}
