import { findObject, loadBalancerAddresses, ofKind, refOf } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { formatIp, sizeOf } from '../ledger/ip.ts';
import { servers } from '../lookup.ts';
import { dig, mapsIn, textOf } from '../loose.ts';
import { needsApply } from '../plan/differences.ts';
import { type AnnouncerSeen, EXCLUDED, type MetallbSeen, rangeOf, type SeenMetallb } from '../plan/metallb-seen.ts';
import type { Readers, SshReader } from '../ports/types.ts';
import { CONFIG_FILE } from '../render/k3s-config.ts';
import { CONFIGURATION, METALLB, METALLB_WORKLOADS, metallbNamespace, metallbPool } from '../render/metallb.ts';
import type { KubeObject } from '../step.ts';
import { CHART_KINDS, chartIn } from './chart.ts';
import { readPatiently } from './k3s.ts';
import { holdersOf } from './neighbours.ts';

const NODE = { apiVersion: 'v1', kind: 'Node' };
const SERVICE = { apiVersion: 'v1', kind: 'Service' };

/** What of MetalLB is in the cluster, and what would get in its way: one look at the API, one at each server. */
export async function observeMetallb(
  lab: Lab,
  { kube, ssh, clock }: Pick<Readers, 'kube' | 'ssh' | 'clock'>,
): Promise<SeenMetallb> {
  const [pool, advertisement] = metallbPool(lab.config);
  const kinds = [metallbNamespace(), ...CHART_KINDS, pool, advertisement, CONFIGURATION, NODE, SERVICE];
  const [answer, servicelbOn] = await Promise.all([kube.survey(kinds), withServicelb(lab, ssh)]);
  if (!answer.ok) return { answers: false, reason: answer.reason };
  const objects = answer.value;
  const seen: MetallbSeen = {
    namespace: findObject(objects, refOf(metallbNamespace())),
    chart: chartIn(objects, 'metallb', METALLB, METALLB_WORKLOADS),
    pool: findObject(objects, refOf(pool)),
    advertisement: findObject(objects, refOf(advertisement)),
    otherPools: ofKind(objects, pool, METALLB).filter(({ metadata }) => metadata.name !== pool.metadata.name),
    refused: refusals(objects),
    servicelbOn,
    servicelbSets: ofKind(objects, { apiVersion: 'apps/v1', kind: 'DaemonSet' }, 'kube-system')
      .map(({ metadata }) => metadata.name)
      .filter((name) => name.startsWith('svclb-')),
    nodes: ofKind(objects, NODE).map(announcer),
    services: ofKind(objects, SERVICE).filter((service) => dig(service, 'spec', 'type') === 'LoadBalancer'),
    taken: [],
  };
  return { answers: true, ...seen, taken: await takenOf(lab, seen, { ssh, clock }) };
}

/** What MetalLB's parts could not take of its configuration; the newer versions say so. */
export function refusals(objects: readonly KubeObject[]): string[] {
  return ofKind(objects, CONFIGURATION, METALLB)
    .filter(({ status }) => dig(status, 'result') === 'Invalid')
    .map(({ metadata, status }) => `${metadata.name}: ${textOf(dig(status, 'errorSummary')) ?? 'it does not say why'}`);
}

/** Taints that the speaker bears as the chart deploys it, or that every DaemonSet's pods do. */
const BORNE = /^(node\.kubernetes\.io\/|node-role\.kubernetes\.io\/(control-plane|master)$)/;

function announcer({ metadata, spec }: KubeObject): AnnouncerSeen {
  const taints = mapsIn(dig(spec, 'taints')).filter(
    ({ key, effect }) => effect !== 'PreferNoSchedule' && !BORNE.test(String(key)),
  );
  return {
    name: metadata.name,
    excluded: EXCLUDED in (metadata.labels ?? {}),
    taints: taints.map(({ key, value, effect }) => `${key}${value ? `=${value}` : ''}:${effect}`),
  };
}

/** Servers that would start servicelb. Those that cannot be asked are not among them: install-k3s reports these. */
async function withServicelb(lab: Lab, ssh: SshReader): Promise<string[]> {
  const found = await Promise.all(
    servers(lab.config).map(async ({ name }) => {
      const answer = await readPatiently(ssh, name, ['grep', '-q', 'servicelb', CONFIG_FILE], {
        sudo: true,
        deadline: 30,
      });
      return answer.ok && answer.value.code !== 0 ? [name] : [];
    }),
  );
  return found.flat();
}

/** More addresses than that are not asked for one by one. */
const MOST_ASKED = 256n;

/**
 * Addresses that the pool is about to get and that somebody has who is no Service of the cluster. Asked from a server,
 * which is on the network where they will be announced, and only while the pool is not yet as it shall be.
 */
async function takenOf(
  { config }: Lab,
  { pool, services }: MetallbSeen,
  readers: Pick<Readers, 'ssh' | 'clock'>,
): Promise<MetallbSeen['taken']> {
  const range = rangeOf(config.metallb.pool);
  const own = new Set(services.flatMap(loadBalancerAddresses));
  if (!needsApply(metallbPool(config)[0], pool) || sizeOf(range) > MOST_ASKED) return [];
  const addresses = Array.from({ length: Number(sizeOf(range)) }, (_, i) =>
    formatIp({ family: range.first.family, value: range.first.value + BigInt(i) }),
  ).filter((address) => !own.has(address));
  for (const { name } of servers(config)) {
    const seen = await holdersOf(addresses, name, readers);
    if (seen.ok)
      return addresses.flatMap((address, i) => {
        const by = seen.value[i];
        return by ? [{ address, by: `${by}, as ${name} sees it` }] : [];
      });
  }
  return [];
}
