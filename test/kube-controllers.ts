import { mapsIn } from '../lib/loose.ts';
import { CERT_MANAGER_WORKLOADS } from '../lib/render/cert-manager.ts';
import { METALLB_WORKLOADS } from '../lib/render/metallb.ts';
import { CSI_WORKLOADS } from '../lib/render/nfs.ts';
import type { KubeObject } from '../lib/step.ts';
import { object } from './cluster-fixture.ts';
import type { KubeServer } from './kube-server.ts';

/** Workloads of the charts that we install, by the chart's name. */
const WORKLOADS: Record<string, string[]> = {
  metallb: METALLB_WORKLOADS,
  'cert-manager': CERT_MANAGER_WORKLOADS,
  'csi-driver-nfs': CSI_WORKLOADS,
};
const READY = { conditions: [{ type: 'Ready', status: 'True', reason: 'Test', message: 'is' }] };
const AS_THEM = ['apply', '--server-side', '--field-manager=controllers', '--force-conflicts'];

/** The part of the controllers that a lone API server has not got: charts are installed, issuers and certificates Ready. */
export async function controllersAct(server: KubeServer): Promise<void> {
  const resources = 'helmcharts.helm.cattle.io,clusterissuers.cert-manager.io,ingresses.networking.k8s.io';
  const { items } = JSON.parse(await said(server, ['get', resources, '-A', '-o', 'json'])) as { items: KubeObject[] };
  const made = items.flatMap((item) =>
    item.kind === 'HelmChart' ? installed(item) : item.kind === 'Ingress' ? issued(item) : [],
  );
  const issuers = items.filter(({ kind }) => kind === 'ClusterIssuer').map((issuer) => ({ ...issuer, status: READY }));
  // A Job is never changed: helm-controller makes a new one for a new version.
  const jobs = made.filter(({ kind }) => kind === 'Job').map(({ metadata: { name } }) => name);
  await said(server, ['delete', 'job', ...jobs, '-n', 'kube-system', '--ignore-not-found']);
  await said(server, [...AS_THEM, '-f', '-'], listOf(made.map(({ status: _, ...rest }) => rest)));
  const statuses = [...made, ...issuers].map(({ apiVersion, kind, metadata: { name, namespace }, status }) =>
    object(apiVersion, kind, name, namespace, { status }),
  );
  await said(server, [...AS_THEM, '--subresource=status', '--validate=false', '-f', '-'], listOf(statuses));
}

function installed({ metadata: { name }, spec }: KubeObject): KubeObject[] {
  const { version, targetNamespace } = spec as { version: string; targetNamespace: string };
  const container = { name: 'helm', image: 'helm', env: [{ name: 'VERSION', value: version }] };
  const job = object('batch/v1', 'Job', `helm-install-${name}`, 'kube-system', {
    spec: { template: { spec: { restartPolicy: 'Never', containers: [container] } } },
    status: { succeeded: 1 },
  });
  const workloads = (WORKLOADS[name] ?? []).map((workload) => {
    const labels = { app: workload };
    const template = { metadata: { labels }, spec: { containers: [{ name: 'c', image: 'c' }] } };
    return object('apps/v1', 'Deployment', workload, targetNamespace, {
      spec: { selector: { matchLabels: labels }, template },
      status: { observedGeneration: 1, replicas: 1, readyReplicas: 1 },
    });
  });
  return [job, ...workloads];
}

function issued({ metadata, spec }: KubeObject): KubeObject[] {
  const issuerRef = { kind: 'ClusterIssuer', name: metadata.annotations?.['cert-manager.io/cluster-issuer'] };
  return mapsIn((spec as { tls?: unknown }).tls).map(({ secretName, hosts: dnsNames }) =>
    object('cert-manager.io/v1', 'Certificate', String(secretName), metadata.namespace, {
      spec: { secretName, dnsNames, issuerRef },
      status: READY,
    }),
  );
}

export function listOf(items: readonly unknown[]): string {
  return JSON.stringify({ apiVersion: 'v1', kind: 'List', items });
}

/** @throws Error with what kubectl says when it fails */
export async function said(server: KubeServer, args: readonly string[], stdin?: string): Promise<string> {
  const { code, stdout, stderr } = await server.kubectl(args, stdin);
  if (code !== 0) throw new Error(`kubectl ${args.join(' ')}: ${stderr}`);
  return stdout;
}
