import type { Config, K3sNode } from '../config/schema.ts';
import { contains, parseIp, parseRange } from '../ledger/ip.ts';
import type { Lease } from '../ledger/lockfile.ts';
import { existenceOf, leftOver, locate } from './drift-existence.ts';
import {
  ATTRIBUTES,
  type Attribute,
  type Facts,
  factsOfConfig,
  factsOfProxmox,
  factsOfState,
  type ProxmoxVm,
  SOURCES,
  type Source,
} from './drift-values.ts';
import type { StateVm } from './terraform-json.ts';

/** Something of a VM in which the sources do not agree. */
export type Drift = {
  vm: string;
  attribute: Attribute | 'existence' | 'lease';
  /** What each source says that says anything. */
  values: Partial<Record<Source, string>>;
  /** The sources that disagree with the others; where neither side is more, those that homelab.yaml is not among. */
  odd: Source[];
  /** The likely cause, where there is a usual one. */
  cause?: string;
  fix?: string;
  /** No script mends it. */
  byHand?: true;
  /** Only wanted so far: the VM was never made. */
  pending?: true;
};

/** What was seen. Undefined: it could not be looked at, and then it says nothing. */
export type DriftSources = {
  config: Config;
  leases: readonly Lease[];
  state: readonly StateVm[] | undefined;
  proxmox: readonly ProxmoxVm[] | undefined;
  /** The administrator's, from the file beside ssh.key. */
  publicKey?: string;
  /** Names of VMs; left out: all, and what belongs to none of them. */
  limit?: readonly string[];
};

/** Compares homelab.yaml, the leases, Terraform's state and Proxmox, VM by VM and attribute by attribute. */
export function driftOf(seen: DriftSources): Drift[] {
  const { config, limit } = seen;
  const nodes = config.k3s.nodes.filter(({ name }) => !limit || limit.includes(name));
  return [...nodes.flatMap((node) => driftOfNode(node, seen)), ...(limit ? [] : leftOver(seen))];
}

function driftOfNode(node: K3sNode, seen: DriftSources): Drift[] {
  const inState = seen.state?.find(({ name }) => name === node.name);
  const vms = locate(node, inState, seen);
  const existence = existenceOf(node, inState, vms, seen);
  const [vm] = vms;
  // Of what is not there nothing else is to be said.
  const gone = seen.proxmox !== undefined && !vm;
  if (gone || (!inState && !vm)) return existence;
  return [...existence, ...attributesOf(node, inState, vm, seen)];
}

function attributesOf(
  node: K3sNode,
  inState: StateVm | undefined,
  vm: ProxmoxVm | undefined,
  { config, leases, publicKey }: DriftSources,
): Drift[] {
  const facts: Partial<Record<Source, Facts>> = {
    'homelab.yaml': factsOfConfig(config, node, publicKey),
    'homelab.lock.yaml': { address: leases.find(({ name }) => name === node.name)?.address ?? 'no lease' },
    state: inState && factsOfState(inState),
    Proxmox: vm && factsOfProxmox(vm),
  };
  return ATTRIBUTES.flatMap((attribute): Drift[] => {
    const values = valuesOf(facts, attribute);
    if (attribute === 'address' && vm?.running && vm.agent) values['guest agent'] = agentValue(vm.agent, values);
    const odd = oddOnes(values);
    if (odd.length === 0) return [];
    return [{ vm: node.name, attribute, values, odd, ...adviceOn(attribute, odd, values, node, config) }];
  });
}

function valuesOf(facts: Partial<Record<Source, Facts>>, attribute: Attribute): Drift['values'] {
  const said = SOURCES.flatMap((source): [Source, string][] => {
    const value = facts[source]?.[attribute];
    return value === undefined ? [] : [[source, value]];
  });
  return Object.fromEntries(said);
}

/** Who disagrees: all that are not of the largest group, and among equal groups not of the first source's. */
export function oddOnes(values: Drift['values']): Source[] {
  const said = SOURCES.filter((source) => values[source] !== undefined);
  const size = (source: Source): number => said.filter((other) => values[other] === values[source]).length;
  const right = said.reduce<Source | undefined>(
    (best, source) => (best === undefined || size(source) > size(best) ? source : best),
    undefined,
  );
  return said.filter((source) => right !== undefined && values[source] !== values[right]);
}

/** A guest has many addresses. Of those that another source names, the one that most name; else those of the network. */
function agentValue(reported: readonly string[], values: Drift['values']): string {
  const named = Object.values(values).filter((value) => reported.includes(value));
  const [first] = [...named].sort(
    (a, b) => named.filter((value) => value === b).length - named.filter((value) => value === a).length,
  );
  if (first) return first;
  const usual = reported.filter((address) => !/^(127\.|::1$|fe80:)/i.test(address));
  return usual.join(', ') || 'no address';
}

type Advice = Pick<Drift, 'cause' | 'fix' | 'byHand'>;

function adviceOn(
  attribute: Attribute,
  odd: readonly Source[],
  values: Drift['values'],
  node: K3sNode,
  config: Config,
): Advice {
  const [only] = odd.length === 1 ? odd : [];
  if (only === 'guest agent')
    return {
      cause: `${kindOfAddress(values[only] ?? '', config)}: cloud-init did not apply the network, or the installer's netplan was left in the template`,
      fix: `look on its console: cloud-init status --long, ls /etc/netplan; build-template cleans a template`,
    };
  if (attribute === 'node' && only === 'Proxmox')
    return {
      fix: `on ${values.Proxmox}: qm migrate ${node.vmid} ${values['homelab.yaml']} --online --with-local-disks; or say it in homelab.yaml`,
      byHand: true,
    };
  if (only === 'homelab.lock.yaml')
    return { fix: 'take the lock file from git again; provision would renumber the VM' };
  if (only === 'state')
    return {
      fix: `terraform apply -refresh-only in .state/${config.name}/terraform takes over what Proxmox has`,
    };
  if (only === 'homelab.yaml') return { fix: 'npx tsx scripts/provision.ts --dry-run shows what applying it does' };
  // Another VMID would be another VM to Terraform.
  if (only === 'Proxmox' && attribute !== 'vmid')
    return { fix: 'provision puts it back; to keep it, say it in homelab.yaml' };
  return {};
}

function kindOfAddress(text: string, { network }: Config): string {
  const addresses = text.split(', ').flatMap((each) => parseIp(each) ?? []);
  const fromDhcp = network.dhcp
    .map(parseRange)
    .some((range) => typeof range !== 'string' && addresses.some((ip) => contains(range, ip)));
  if (addresses.length === 0) return 'no address at all';
  return fromDhcp
    ? 'a DHCP address instead of the static one'
    : 'another address than the static one, by DHCP it seems';
}
