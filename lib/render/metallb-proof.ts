import type { KubeObject } from '../step.ts';

/** Of the proof only; removed with everything in it, also when a proof before was cut off. */
export const PROOF_NAMESPACE = 'homelab-proof-metallb';
export const PROOF_SERVICE = { apiVersion: 'v1', kind: 'Service', name: 'proof', namespace: PROOF_NAMESPACE };
/** Answers `/echo?msg=…` with the message: who else has the address does not. */
const IMAGE = 'registry.k8s.io/e2e-test-images/agnhost:2.53';

/** A small web server, and a Service of type LoadBalancer in front of it. */
export function proofObjects(): KubeObject[] {
  const metadata = { name: PROOF_SERVICE.name, namespace: PROOF_NAMESPACE };
  const labels = { app: PROOF_SERVICE.name };
  const container = {
    name: 'http',
    image: IMAGE,
    args: ['netexec', '--http-port=8080'],
    ports: [{ containerPort: 8080 }],
    resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } },
  };
  return [
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: PROOF_NAMESPACE } },
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
