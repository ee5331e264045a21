import { type Poll, until } from '../deadline.ts';
import { HomelabError, messageOf } from '../errors.ts';
import { loadBalancerAddress } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { contains, inUrl, parseIp, parseRange, sizeOf } from '../ledger/ip.ts';
import type { Ports } from '../ports/types.ts';
import type { KubeObject, Proof } from '../step.ts';

/** Of the proof only; removed with everything in it, also when a proof before was cut off. */
const NAMESPACE = 'homelab-proof-metallb';
const IMAGE = 'registry.k8s.io/e2e-test-images/agnhost:2.53';
const SERVICE = { apiVersion: 'v1', kind: 'Service', name: 'proof', namespace: NAMESPACE };
const namespace: KubeObject = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: NAMESPACE } };

type VerifyPorts = Pick<Ports, 'kube' | 'net' | 'clock'>;

/** A Service of type LoadBalancer gets an address of the pool, and answers from here: from outside of the cluster. */
export async function verifyMetallb(lab: Lab, ports: VerifyPorts): Promise<Proof[]> {
  const claim = `a LoadBalancer gets an address of ${lab.config.metallb.pool}`;
  const remove = (): Promise<void> =>
    ports.kube.delete([{ apiVersion: 'v1', kind: 'Namespace', name: NAMESPACE }], 120);
  try {
    await remove();
    await ports.kube.apply([namespace, ...workload()]);
    const address = await addressOf(ports);
    const inPool = isIn(lab.config.metallb.pool, address);
    const given: Proof = { claim, ok: inPool, detail: inPool ? address : `${address} is not of it` };
    return [given, await answers(address, ports)];
  } catch (error) {
    return [{ claim, ok: false, detail: await explained(error, lab, ports) }];
  } finally {
    await remove();
  }
}

function workload(): KubeObject[] {
  const metadata = { name: SERVICE.name, namespace: NAMESPACE };
  const labels = { app: SERVICE.name };
  const container = {
    name: 'http',
    image: IMAGE,
    args: ['netexec', '--http-port=8080'],
    ports: [{ containerPort: 8080 }],
    resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } },
  };
  return [
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata,
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { containers: [container] } },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { type: 'LoadBalancer', selector: labels, ports: [{ port: 80, targetPort: 8080 }] },
    },
  ];
}

function addressOf({ kube, clock }: VerifyPorts): Promise<string> {
  const look = async (): Promise<Poll<string>> => {
    const ip = loadBalancerAddress(await kube.get(SERVICE));
    return ip ? { done: true, value: ip } : { done: false, seen: 'it has no address' };
  };
  return until(60, 'the Service gets an address', look, { sleep: clock.sleep });
}

async function answers(address: string, { net, clock }: VerifyPorts): Promise<Proof> {
  const url = `http://${inUrl(address)}/`;
  const look = async (): Promise<Poll<number>> => {
    const answer = await net.http(url, { address, deadline: 5 });
    if (!answer.ok) return { done: false, seen: answer.reason };
    return answer.value.status === 200
      ? { done: true, value: 200 }
      : { done: false, seen: `HTTP ${answer.value.status}` };
  };
  const claim = 'it answers HTTP from outside of the cluster';
  try {
    // The image has to be pulled first.
    await until(180, claim, look, { sleep: clock.sleep });
    return { claim, ok: true, detail: `${url} → 200` };
  } catch (error) {
    const seen = error instanceof HomelabError && error.likelyCause ? `; ${error.likelyCause}` : '';
    return { claim, ok: false, detail: `${messageOf(error)}${seen}` };
  }
}

/** Why there was no address: every one of the pool in use is the usual cause. */
async function explained(error: unknown, lab: Lab, { kube }: VerifyPorts): Promise<string> {
  const services = await kube.list('v1', 'Service').catch((): KubeObject[] => []);
  const used = services
    .filter(({ metadata }) => metadata.namespace !== NAMESPACE)
    .flatMap((service) => loadBalancerAddress(service) ?? [])
    .filter((ip) => isIn(lab.config.metallb.pool, ip));
  const range = parseRange(lab.config.metallb.pool);
  const size = typeof range === 'string' ? undefined : Number(sizeOf(range));
  const exhausted = size !== undefined && new Set(used).size >= size;
  return exhausted ? `the pool is exhausted: all ${size} addresses are in use; widen metallb.pool` : messageOf(error);
}

function isIn(pool: string, address: string): boolean {
  const [range, ip] = [parseRange(pool), parseIp(address)];
  return typeof range !== 'string' && ip !== undefined && contains(range, ip);
}
