import type { PostgresServer } from '../config/schema.ts';
import { HomelabError, messageOf } from '../errors.ts';
import type { Endpoints } from '../ports/endpoints.ts';
import type { Answer, KubeReader, SshReader } from '../ports/types.ts';
import type { Secret } from '../secret.ts';
import type { DatabaseAddress } from './connect.ts';

/** A way to a server, until it is closed. */
export type Reached = { address: DatabaseAddress; close(): Promise<void> };

/**
 * Opens a way to a PostgreSQL server: directly, where homelab.yaml names its host, or by a tunnel through a K3s server
 * to the ClusterIP of its Service. The engine needs an address only; another home of it (a Job in the cluster) brings
 * its own.
 */
export async function reachDatabase(
  { kube, ssh }: { kube: KubeReader; ssh: SshReader },
  server: PostgresServer,
  password: Secret | undefined,
  endpoints: Pick<Endpoints, 'dial'>,
): Promise<Answer<Reached>> {
  // A pod has no tunnel: it reaches the Service by its name.
  const inCluster = server.host === undefined || server.host.endsWith('.svc');
  const service = inCluster ? whereabouts(server) : undefined;
  const at = (host: string, port: number, close: () => Promise<void>): Answer<Reached> => ({
    ok: true,
    value: { address: { name: server.name, host, port, user: server.user, password, service }, close },
  });
  try {
    if (server.host !== undefined) {
      const { host, port } = endpoints.dial(server.host, server.port);
      return at(host, port, async () => {});
    }
    const through = await kube.reachable();
    if (!through.ok) return { ok: false, reason: `the cluster does not answer: ${through.reason}` };
    const address = await clusterAddress(kube, server);
    if (!address.ok) return address;
    const tunnel = await ssh.forward(through.value, address.value, server.port);
    return at('127.0.0.1', tunnel.port, () => tunnel.close());
  } catch (error) {
    if (error instanceof HomelabError) return { ok: false, reason: messageOf(error) };
    throw error;
  }
}

/** What a server is called where it runs: "databases/postgresql", "db-01:5432". */
export function whereabouts({ host, port, namespace, service }: PostgresServer): string {
  return host === undefined ? `${namespace}/${service}` : `${host}:${port}`;
}

async function clusterAddress(kube: KubeReader, server: PostgresServer): Promise<Answer<string>> {
  const { namespace, service: name = '', port } = server;
  const service = await kube.get({ apiVersion: 'v1', kind: 'Service', name, namespace });
  if (!service) return { ok: false, reason: `there is no Service ${namespace}/${name}` };
  const spec = service.spec as { clusterIP?: string; ports?: { port: number }[] } | undefined;
  const ports = spec?.ports?.map((p) => p.port) ?? [];
  if (!spec?.clusterIP || spec.clusterIP === 'None')
    return { ok: false, reason: `the Service ${namespace}/${name} has no ClusterIP; name one that has` };
  if (!ports.includes(port))
    return { ok: false, reason: `the Service ${namespace}/${name} has no port ${port}, only ${ports.join(', ')}` };
  return { ok: true, value: spec.clusterIP };
}
