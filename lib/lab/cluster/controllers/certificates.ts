import { ApiError } from '../api/errors.ts';
import { itemsAt, ownerOf, recordAt, type Thing, textAt, valueAt, withCondition } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { askFor, caOf } from './acme.ts';
import { isPodReady } from './workloads.ts';

const API = 'cert-manager.io/v1';

/** cert-manager, when it runs: issuers get Ready, annotated Ingresses get Certificates, and these their Secrets. */
export async function certificates(cluster: Cluster): Promise<void> {
  const running = cluster.store
    .list('v1', 'Pod')
    .find((pod) => pod.metadata.labels?.['app.kubernetes.io/name'] === 'cert-manager' && isPodReady(pod));
  if (!running) return;
  for (const issuer of cluster.store.list(API, 'ClusterIssuer'))
    checkIssuer(cluster, issuer, running.metadata.namespace ?? '');
  for (const ingress of cluster.store.list('networking.k8s.io/v1', 'Ingress')) shim(cluster, ingress);
  for (const certificate of cluster.store.list(API, 'Certificate')) await issue(cluster, certificate);
}

/** cert-manager's webhook, without which none of its objects is taken. */
export function certManagerWebhook(cluster: Cluster, object: Thing): void {
  if (!object.apiVersion.startsWith('cert-manager.io/')) return;
  const pod = cluster.store
    .list('v1', 'Pod')
    .find((p) => p.metadata.labels?.['app.kubernetes.io/component'] === 'webhook' && isPodReady(p));
  if (pod) return;
  throw new ApiError(
    'InternalError',
    'Internal error occurred: failed calling webhook "webhook.cert-manager.io": failed to call webhook: Post "https://cert-manager-webhook.cert-manager.svc:443/validate?timeout=30s": no endpoints available for service "cert-manager-webhook"',
  );
}

/**
 * The emulator is stricter than cert-manager here: a real issuer is Ready once its account is registered, and a
 * missing DNS token shows only when a certificate is asked for.
 */
function checkIssuer(cluster: Cluster, issuer: Thing, namespace: string): void {
  const missing = itemsAt(issuer, 'spec.acme.solvers').flatMap((solver) => {
    const name = textAt(solver, 'dns01.cloudflare.apiTokenSecretRef.name');
    const key = textAt(solver, 'dns01.cloudflare.apiTokenSecretRef.key');
    if (!name) return [];
    const secret = cluster.store.get('v1', 'Secret', name, namespace);
    if (!secret) return [`error getting ${namespace}/${name}: secrets "${name}" not found`];
    return recordAt(secret, 'data')[key] ? [] : [`no data for "${key}" in secret '${namespace}/${name}'`];
  });
  const [problem] = missing;
  if (!problem && !cluster.loop.due(`issuer ${issuer.metadata.uid}`, cluster.pace.certificate)) return;
  const conditions = problem
    ? withCondition(issuer, 'Ready', 'False', 'ErrGetSecret', problem)
    : withCondition(
        issuer,
        'Ready',
        'True',
        'ACMEAccountRegistered',
        'The ACME account was registered with the ACME server',
      );
  cluster.store.putStatus(issuer, { conditions });
  const account = textAt(issuer, 'spec.acme.privateKeySecretRef.name');
  if (!problem && account && !cluster.store.get('v1', 'Secret', account, namespace))
    cluster.store.put(
      { apiVersion: 'v1', kind: 'Secret', metadata: { name: account, namespace }, type: 'Opaque', data: {} },
      'cert-manager',
    );
}

/** A Certificate for each TLS entry of an annotated Ingress; not when another Ingress has that Secret already. */
function shim(cluster: Cluster, ingress: Thing): void {
  const issuer = ingress.metadata.annotations?.['cert-manager.io/cluster-issuer'];
  if (!issuer) return;
  const { namespace } = ingress.metadata;
  for (const tls of itemsAt(ingress, 'spec.tls')) {
    const secretName = textAt(tls, 'secretName');
    const dnsNames = valueAt(tls, 'hosts');
    if (!secretName || !Array.isArray(dnsNames) || dnsNames.length === 0) {
      cluster.event(ingress, 'Warning', 'BadConfig', 'TLS entry is missing its secretName or hosts');
      continue;
    }
    const live = cluster.store.get(API, 'Certificate', secretName, namespace);
    const owner = live?.metadata.ownerReferences?.[0];
    if (live && owner?.uid !== ingress.metadata.uid) {
      cluster.event(
        ingress,
        'Warning',
        'BadConfig',
        `certificate resource is not owned by this object. refusing to update non-owned certificate resource for object`,
      );
      continue;
    }
    cluster.store.put(
      {
        apiVersion: API,
        kind: 'Certificate',
        metadata: { name: secretName, namespace, ownerReferences: [ownerOf(ingress)] },
        spec: {
          dnsNames,
          secretName,
          issuerRef: { group: 'cert-manager.io', kind: 'ClusterIssuer', name: issuer },
          usages: ['digital signature', 'key encipherment'],
        },
        ...(live?.status ? { status: live.status } : {}),
      },
      'cert-manager',
    );
  }
}

async function issue(cluster: Cluster, certificate: Thing): Promise<void> {
  const { store, loop, pace } = cluster;
  const { namespace, uid } = certificate.metadata;
  const secretName = textAt(certificate, 'spec.secretName');
  const names = (valueAt(certificate, 'spec.dnsNames') as string[] | undefined) ?? [];
  const issuedFor = store.get('v1', 'Secret', secretName, namespace)?.metadata.annotations?.[
    'cert-manager.io/alt-names'
  ];
  if (issuedFor === names.join(','))
    return setReady(cluster, certificate, 'True', 'Ready', 'Certificate is up to date and has not expired');
  const issuerName = textAt(certificate, 'spec.issuerRef.name');
  const issuer = store.get(API, 'ClusterIssuer', issuerName);
  const waiting = (reason: string, message: string): void => setReady(cluster, certificate, 'False', reason, message);
  if (!issuer)
    return waiting(
      'DoesNotExist',
      `Issuing certificate as Secret does not exist: Referenced "ClusterIssuer" not found: clusterissuer.cert-manager.io "${issuerName}" not found`,
    );
  if (textAt(issuer, 'status.conditions[Ready].status') !== 'True')
    return waiting('DoesNotExist', 'Issuing certificate as Secret does not exist: the issuer is not ready');
  if (textAt(certificate, 'status.lastFailureTime')) return;
  const { acme, acmeOrder } = cluster.faults;
  if (acmeOrder) return failOrder(cluster, certificate, acmeOrder);
  if (acme) {
    askFor(cluster, certificate, names, { state: 'pending', challenge: acme });
    loop.postpone(`issue ${uid} ${names}`, pace.retry, pace.certificate);
    return waiting('DoesNotExist', 'Issuing certificate as Secret does not exist');
  }
  const zone = names.find((name) => !inZones(issuer, name));
  if (zone) return waiting('Failed', `no configured challenge solvers can be used for this challenge: ${zone}`);
  waiting('DoesNotExist', 'Issuing certificate as Secret does not exist');
  if (!loop.due(`issue ${uid} ${names}`, pace.certificate)) return;
  askFor(cluster, certificate, names, { state: 'valid' });
  const { cert, key } = await (await caOf(cluster, issuer)).issue(names);
  const base64 = (text: string): string => Buffer.from(text).toString('base64');
  store.put(
    {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: {
        name: secretName,
        namespace,
        annotations: {
          'cert-manager.io/alt-names': names.join(','),
          'cert-manager.io/certificate-name': certificate.metadata.name,
          'cert-manager.io/issuer-name': issuerName,
        },
      },
      type: 'kubernetes.io/tls',
      data: { 'tls.crt': base64(cert), 'tls.key': base64(key) },
    },
    'cert-manager',
  );
}

/** An Order that the ACME server does not take ends this attempt; the next is an hour away, for this Certificate. */
function failOrder(cluster: Cluster, certificate: Thing, reason: string): void {
  askFor(cluster, certificate, [], { state: 'errored', reason });
  const message = `The certificate request has failed to complete and will be retried: Failed to wait for order resource to become ready: order is in "errored" state: ${reason}`;
  const failed = withCondition(certificate, 'Issuing', 'False', 'Failed', message);
  cluster.store.putStatus(certificate, {
    lastFailureTime: new Date().toISOString(),
    failedIssuanceAttempts: 1,
    conditions: withCondition(
      { ...certificate, status: { conditions: failed } },
      'Ready',
      'False',
      'DoesNotExist',
      'Issuing certificate as Secret does not exist',
    ),
  });
}

/** A solver without a selector takes every name. */
function inZones(issuer: Thing, name: string): boolean {
  const solvers = itemsAt(issuer, 'spec.acme.solvers');
  return (
    solvers.length === 0 ||
    solvers.some((solver) => {
      const zones = valueAt(solver, 'selector.dnsZones');
      return !Array.isArray(zones) || zones.some((zone) => name === zone || name.endsWith(`.${zone}`));
    })
  );
}

function setReady(
  cluster: Cluster,
  certificate: Thing,
  status: 'True' | 'False',
  reason: string,
  message: string,
): void {
  const times =
    status === 'True' && !textAt(certificate, 'status.notAfter')
      ? { notAfter: new Date(Date.now() + 30 * 24 * 3600 * 1000).toISOString() }
      : {};
  cluster.store.putStatus(certificate, {
    ...times,
    conditions: withCondition(certificate, 'Ready', status, reason, message),
  });
}
