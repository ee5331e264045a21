import type { KubeObject } from '../step.ts';

/**
 * What the owner of the lab would deploy by other means (Flux, kubectl): an application that waits for an
 * ingress, and the Service in front of a PostgreSQL server.
 */
export const APPLICATION = { name: 'hello', host: (domain: string) => `hello.${domain}`, port: 8080 };

export function ownersObjects(
  servers: readonly { namespace?: string; service?: string; port: number }[],
): KubeObject[] {
  const postgres = servers.flatMap(({ namespace, service, port }) =>
    namespace && service ? [{ namespace, service, port }] : [],
  );
  const { name, port } = APPLICATION;
  const labels = { app: name };
  const namespaces = new Set([name, ...postgres.map(({ namespace }) => namespace)]);
  return [
    ...[...namespaces].map((namespace) => ({ apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace } })),
    {
      apiVersion: 'apps/v1',
      kind: 'Deployment',
      metadata: { name, namespace: name },
      spec: {
        replicas: 1,
        selector: { matchLabels: labels },
        template: {
          metadata: { labels },
          spec: {
            containers: [
              {
                name,
                image: 'registry.k8s.io/e2e-test-images/agnhost:2.53',
                args: ['netexec', `--http-port=${port}`],
                ports: [{ containerPort: port }],
              },
            ],
          },
        },
      },
    },
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name, namespace: name },
      spec: { selector: labels, ports: [{ port, targetPort: port }] },
    },
    ...postgres.map((server) => ({
      apiVersion: 'v1',
      kind: 'Service',
      metadata: { name: server.service, namespace: server.namespace },
      spec: { selector: { app: server.service }, ports: [{ name: 'postgresql', port: server.port, targetPort: 5432 }] },
    })),
  ];
}
