import { loadBalancerAddress, loadBalancerAddresses, titleOf } from '../kube-object.ts';
import { contains, parseIp, parseRange, type Range, sizeOf } from '../ledger/ip.ts';
import { dig, textOf } from '../loose.ts';
import type { KubeObject } from '../step.ts';
import type { ChartSeen } from './chart-steps.ts';

export type SeenMetallb = { answers: false; reason: string } | ({ answers: true } & MetallbSeen);

export type MetallbSeen = {
  namespace?: KubeObject;
  chart: ChartSeen;
  pool?: KubeObject;
  advertisement?: KubeObject;
  /** Pools that are not of our making. */
  otherPools: KubeObject[];
  /** What MetalLB's parts say that they cannot take of its configuration: "metallb-controller: …". */
  refused: string[];
  /** Servers whose config.yaml does not disable servicelb. */
  servicelbOn: string[];
  /** DaemonSets of servicelb ("svclb-traefik-…"). */
  servicelbSets: string[];
  nodes: AnnouncerSeen[];
  /** Services of type LoadBalancer that MetalLB serves. */
  services: KubeObject[];
  /** Addresses that the pool is about to get, and who has them already. */
  taken: { address: string; by: string }[];
};

/** What decides whether addresses are announced from a node. */
export type AnnouncerSeen = {
  name: string;
  /** Whether it has the label EXCLUDED. */
  excluded: boolean;
  /** Taints that keep the speaker away: "dedicated=gpu:NoSchedule". */
  taints: string[];
};

export const EXCLUDED = 'node.kubernetes.io/exclude-from-external-load-balancers';

/** Of which pool a Service's address is; the older name was used before MetalLB 0.13. */
const FROM_POOL = ['metallb.io/ip-allocated-from-pool', 'metallb.universe.tf/ip-allocated-from-pool'];

export const nothingOfMetallb: MetallbSeen = {
  chart: { rolledOut: false },
  otherPools: [],
  refused: [],
  servicelbOn: [],
  servicelbSets: [],
  nodes: [],
  services: [],
  taken: [],
};

/** Whether an address is of `metallb.pool`. */
export function isInPool(pool: string, address: string): boolean {
  const ip = parseIp(address);
  return ip !== undefined && contains(rangeOf(pool), ip);
}

/** Whether every address of the pool has a Service. */
export function isExhausted(pool: string, services: readonly KubeObject[]): boolean {
  const used = services.flatMap(loadBalancerAddresses).filter((ip) => isInPool(pool, ip));
  return BigInt(new Set(used).size) >= sizeOf(rangeOf(pool));
}

/** Services that would lose their address with this pool: it comes from the pool of that name, and would be outside of it. */
export function losers(name: string, pool: string, services: readonly KubeObject[]): string[] {
  return services.flatMap((service) => {
    const from = FROM_POOL.map((key) => service.metadata.annotations?.[key]).find(Boolean);
    if (from !== name) return [];
    const lost = loadBalancerAddresses(service).filter((address) => !isInPool(pool, address));
    return lost.map(
      (ip) => `${ip}, the address of ${titleOf(service)}: it gets another, and DNS records of it are wrong`,
    );
  });
}

/** Services that wait for an address. One with a class is another's. */
export function waitingOnes(services: readonly KubeObject[]): KubeObject[] {
  return services.filter(
    (service) => !loadBalancerAddress(service) && !textOf(dig(service, 'spec', 'loadBalancerClass')),
  );
}

/** metallb.pool, which the ledger has read already. */
export function rangeOf(pool: string): Range {
  const range = parseRange(pool);
  if (typeof range === 'string') throw new Error(range);
  return range;
}
