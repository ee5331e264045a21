import { expiryOf } from '../certificate.ts';
import { ISSUANCE_KINDS } from '../issuance.ts';
import { findObject, loadBalancerAddress } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { type ClusterConventions, unrenewed } from '../plan/conventions-cluster.ts';
import type { Answer, KubeKind, Readers } from '../ports/types.ts';
import { middlewareObject } from '../render/ingress.ts';

const TRAEFIK = { apiVersion: 'v1', kind: 'Service', name: 'traefik', namespace: 'kube-system' };
const KINDS: readonly KubeKind[] = [
  { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress' },
  { apiVersion: 'v1', kind: 'Service' },
  { apiVersion: 'v1', kind: 'PersistentVolumeClaim' },
  { apiVersion: 'v1', kind: 'Pod' },
  ...['Deployment', 'StatefulSet', 'DaemonSet'].map((kind) => ({ apiVersion: 'apps/v1', kind })),
  ...['CronJob', 'Job'].map((kind) => ({ apiVersion: 'batch/v1', kind })),
  ...ISSUANCE_KINDS,
];

/**
 * What the linter wants to know of the cluster. Secrets are not read: of a certificate that nobody renews, what Traefik
 * shows is looked at.
 */
export async function observeConventions(
  { config }: Pick<Lab, 'config'>,
  { kube, net, clock }: Pick<Readers, 'kube' | 'net' | 'clock'>,
): Promise<Answer<ClusterConventions>> {
  const answer = await kube.survey([...KINDS, middlewareObject(config.ingress)]);
  if (!answer.ok) return answer;
  const objects = answer.value;
  const address = loadBalancerAddress(findObject(objects, TRAEFIK));
  const hosts = [...new Set(unrenewed(objects).flatMap((each) => each.hosts))];
  const shown = hosts.map(async (host): Promise<[string, number][]> => {
    const seen = address === undefined ? undefined : await net.certificate(address, 443, 5, host);
    return seen?.ok ? [[host, expiryOf(seen.value)]] : [];
  });
  const expiry = Object.fromEntries((await Promise.all(shown)).flat());
  return { ok: true, value: { objects, expiry, now: clock.now().getTime() } };
}
