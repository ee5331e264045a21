import { LabCa } from '../../ca.ts';
import { ownerOf, shortHash, type Thing, textAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';

const ACME = 'acme.cert-manager.io/v1';

type Progress = { state: 'pending' | 'valid' | 'errored'; reason?: string; challenge?: string };

/** What cert-manager makes on the way from a Certificate to its Secret: a request, an order, a challenge a name. */
export function askFor(
  cluster: Cluster,
  certificate: Thing,
  names: readonly string[],
  { state, reason = '', challenge }: Progress,
): void {
  const { store } = cluster;
  const { name, namespace } = certificate.metadata;
  const make = (apiVersion: string, kind: string, made: string, owner: Thing, rest: object): Thing => {
    const annotations = { 'cert-manager.io/certificate-name': name, 'cert-manager.io/certificate-revision': '1' };
    const metadata = { name: made, namespace, annotations, ownerReferences: [ownerOf(owner)] };
    return store.put({ apiVersion, kind, metadata, ...rest }, 'cert-manager');
  };
  const ready = { valid: ['True', 'Issued'], errored: ['False', 'Failed'], pending: ['False', 'Pending'] }[state];
  const order = `${name}-1-${shortHash(name, 10)}`;
  const message = {
    valid: 'Certificate fetched from issuer successfully',
    errored: `Failed to wait for order resource "${order}" to become ready: order is in "errored" state: ${reason}`,
    pending: `Waiting on certificate issuance from order ${namespace}/${order}: "pending"`,
  }[state];
  const condition = { type: 'Ready', status: ready?.[0], reason: ready?.[1], message };
  const request = make('cert-manager.io/v1', 'CertificateRequest', `${name}-1`, certificate, {
    spec: { issuerRef: { kind: 'ClusterIssuer', name: textAt(certificate, 'spec.issuerRef.name') } },
    status: { conditions: [condition] },
  });
  const made = make(ACME, 'Order', order, request, {
    spec: { dnsNames: names },
    status: { state, ...(reason && { reason }) },
  });
  for (const old of store.list(ACME, 'Challenge', namespace))
    if (old.metadata.ownerReferences?.[0]?.name === order && state !== 'pending') store.delete(old);
  if (state !== 'pending') return;
  for (const dnsName of names)
    make(ACME, 'Challenge', `${order}-${shortHash(dnsName, 10)}`, made, {
      spec: { dnsName, type: 'DNS-01' },
      status: { state: 'pending', processing: true, presented: false, reason: challenge },
    });
}

const staging = new WeakMap<Cluster, Promise<LabCa>>();

/** Who signs: of Let's Encrypt's staging nobody's browser has heard. */
export function caOf(cluster: Cluster, issuer: Thing): Promise<LabCa> {
  if (!textAt(issuer, 'spec.acme.server').includes('staging')) return Promise.resolve(cluster.options.ca);
  const known = staging.get(cluster) ?? LabCa.create('(STAGING) Rehearsed Radish R1');
  staging.set(cluster, known);
  return known;
}
