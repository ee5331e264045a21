import { loadBalancerAddress, titleOf } from '../kube-object.ts';
import { sizeOf } from '../ledger/ip.ts';
import { dig } from '../loose.ts';
import type { Note } from '../step.ts';
import {
  type AnnouncerSeen,
  EXCLUDED,
  isExhausted,
  isInPool,
  type MetallbSeen,
  rangeOf,
  waitingOnes,
} from './metallb-seen.ts';

/** What stands in MetalLB's way, or would be noticed only later. */
export function metallbNotes(pool: string, seen: MetallbSeen): Note[] {
  return [
    ...servicelbNotes(seen),
    ...announcerNotes(seen.nodes),
    ...poolNotes(pool, seen),
    ...takenNotes(pool, seen.taken),
    ...seen.refused.map(
      (text): Note => ({ level: 'warning', text: `MetalLB does not take its configuration: ${text}` }),
    ),
    ...seen.otherPools.map(
      ({ metadata, spec }): Note => ({
        level: 'info',
        text: `there is another IPAddressPool, ${metadata.name} (${JSON.stringify(dig(spec, 'addresses'))}); it is left as it is`,
      }),
    ),
  ];
}

function servicelbNotes({ servicelbOn, servicelbSets }: MetallbSeen): Note[] {
  if (servicelbOn.length > 0)
    return [
      {
        level: 'blocker',
        text: `servicelb is not disabled on ${servicelbOn.join(', ')}: it and MetalLB would both answer for a Service`,
        fix: 'run install-k3s, which writes `disable: [servicelb]`',
        waitsFor: 'install-k3s',
      },
    ];
  if (servicelbSets.length === 0) return [];
  return [
    {
      level: 'blocker',
      text: `servicelb still runs (${servicelbSets.join(', ')} in kube-system) though it is disabled`,
      fix: 'restart K3s on the servers, one after another: it takes its DaemonSets away when it starts',
    },
  ];
}

/** Some nodes that announce nothing may be meant so; all of them cannot. */
function announcerNotes(nodes: readonly AnnouncerSeen[]): Note[] {
  const excluded = nodes.filter((node) => node.excluded).map(({ name }) => name);
  if (nodes.length > 0 && nodes.every((node) => node.excluded || node.taints.length > 0)) {
    const why = nodes.map(({ name, taints, ...node }) =>
      node.excluded ? `${name} has the label ${EXCLUDED}` : `${name} has the taint ${taints.join(', ')}`,
    );
    return [
      {
        level: 'blocker',
        text: `no node would announce an address: ${why.join('; ')}`,
        fix: excluded[0] ? unlabel(excluded[0]) : 'give the cluster a node without such a taint',
      },
    ];
  }
  if (excluded.length === 0) return [];
  return [
    {
      level: 'warning',
      text: `${excluded.join(', ')} ${excluded.length === 1 ? 'has' : 'have'} the label ${EXCLUDED}: MetalLB announces nothing from there`,
      fix: `if that is not wanted: ${unlabel(excluded[0] ?? '')}`,
    },
  ];
}

function unlabel(node: string): string {
  return `\`k3s kubectl label node ${node} ${EXCLUDED}-\``;
}

function poolNotes(pool: string, { services }: MetallbSeen): Note[] {
  if (!isExhausted(pool, services)) return [];
  const holders = services.filter((service) => isInPool(pool, loadBalancerAddress(service) ?? ''));
  const waiting = waitingOnes(services).map(titleOf);
  return [
    {
      level: 'warning',
      text: `the pool is exhausted: all ${sizeOf(rangeOf(pool))} addresses of ${pool} are in use (${some(holders.map(titleOf))})${waiting.length > 0 ? `; without an address: ${some(waiting)}` : ''}`,
      fix: 'widen metallb.pool, or make a Service of another type',
    },
  ];
}

function takenNotes(pool: string, taken: MetallbSeen['taken']): Note[] {
  if (taken.length === 0) return [];
  const [first] = taken;
  // A router that answers for what it would route (proxy ARP) has every address, and so says nothing of any.
  if (BigInt(taken.length) === sizeOf(rangeOf(pool)) && taken.length > 1 && taken.every(({ by }) => by === first?.by))
    return [{ level: 'warning', text: `every address of ${pool} is answered for by ${first?.by}: proxy ARP?` }];
  return [
    {
      level: 'blocker',
      text: `metallb.pool has addresses that others use: ${some(taken.map(({ address, by }) => `${address} (${by})`))}`,
      fix: 'give these machines other addresses, or take theirs out of the pool',
    },
  ];
}

/** The first few, and how many more there are. */
function some(names: readonly string[]): string {
  const more = names.length - 4;
  return more > 1 ? `${names.slice(0, 4).join(', ')} and ${more} more` : names.join(', ');
}
