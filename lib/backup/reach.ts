import type { PostgresServer } from '../config/schema.ts';
import { HomelabError, messageOf } from '../errors.ts';
import type { Answer, KubeReader, SshReader } from '../ports/types.ts';
import type { Secret } from '../secret.ts';
import type { DatabaseAddress } from './connect.ts';

/** A way to a server, until it is closed. */
export type Reached = { address: DatabaseAddress; close(): Promise<void> };

/**
 * Opens a way to a PostgreSQL server of the cluster: a tunnel through a K3s server to its Service's ClusterIP.
 * The engine needs an address only; another home of it (a Job in the cluster) brings its own.
 */
export async function reachDatabase(
  { kube, ssh }: { kube: KubeReader; ssh: SshReader },
  server: PostgresServer,
  password: Secret | undefined,
): Promise<Answer<Reached>> {
  try {
    const through = await kube.reachable();
    if (!through.ok) return { ok: false, reason: `the cluster does not answer: ${through.reason}` };
    const address = await clusterAddress(kube, server);
    if (!address.ok) return address;
    const tunnel = await ssh.forward(through.value, address.value, server.port);
    return {
      ok: true,
      value: {
        address: { name: server.name, host: '127.0.0.1', port: tunnel.port, user: server.user, password },
        close: () => tunnel.close(),
      },
    };
  } catch (error) {
    if (error instanceof HomelabError) return { ok: false, reason: messageOf(error) };
    throw error;
  }
}

async function clusterAddress(kube: KubeReader, server: PostgresServer): Promise<Answer<string>> {
  const { namespace, service: name, port } = server;
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
