import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { messageOf } from '../../errors.ts';
import type { KeyPair, LabCa } from '../ca.ts';
import type { Identity } from './access.ts';
import { readBody } from './body.ts';
import type { Cluster } from './cluster.ts';
import { clusterRoutes } from './cluster-routes.ts';
import { PveError, unauthorized } from './errors.ts';
import { nodeRoutes } from './node-routes.ts';
import { verify } from './params.ts';
import { gatewayError, sendData, sendError } from './reply.ts';
import { dispatch, Router } from './router.ts';
import { storageConfigRoutes } from './storage-config.ts';
import { storageRoutes } from './storage-routes.ts';
import type { NodeSpec } from './types.ts';
import { vmRoutes } from './vm-routes.ts';

/** A request as the lab's journal keeps it. */
export type Seen = {
  node: string;
  method: string;
  path: string;
  status: number;
  message?: string;
  /** The User-Agent that it gave: whose request it was. */
  client?: string;
};

const PREFIX = '/api2/json';

const router = new Router([...clusterRoutes, ...nodeRoutes, ...storageConfigRoutes, ...storageRoutes, ...vmRoutes]);

/** One node's pveproxy, on a loopback port of its own. */
export async function serveNode(
  node: NodeSpec,
  cluster: Cluster,
  ca: LabCa,
  onRequest: (seen: Seen) => void,
): Promise<Server> {
  const server = createServer(await certificateOf(node, ca), (request, response) => {
    void answer(node, cluster, request, response, onRequest).catch((error: unknown) => {
      cluster.problems.push(
        `${request.method} ${request.url}: ${error instanceof Error ? error.stack : messageOf(error)}`,
      );
      request.socket.destroy();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return server;
}

/** An upload's privilege is looked at before its body is read, and refused as an authentication is. */
function checkUpload(cluster: Cluster, who: Identity, method: string, path: string): void {
  const storage = /^\/nodes\/[^/]+\/storage\/([^/]+)\/upload$/.exec(path)?.[1];
  if (method !== 'POST' || storage === undefined) return;
  try {
    cluster.access.require(who, `/storage/${storage}`, ['Datastore.AllocateTemplate']);
  } catch (error) {
    throw unauthorized(403, messageOf(error));
  }
}

/** A certificate for a node, with a key of its own each time. */
export function certificateOf(node: NodeSpec, ca: LabCa): Promise<KeyPair> {
  return ca.issue([node.name, 'localhost'], [node.address, '127.0.0.1']);
}

export function portOf(server: Server): number {
  return (server.address() as AddressInfo).port;
}

async function answer(
  node: NodeSpec,
  cluster: Cluster,
  request: IncomingMessage,
  response: ServerResponse,
  onRequest: (seen: Seen) => void,
): Promise<void> {
  const { faults } = cluster;
  const method = request.method ?? 'GET';
  const url = new URL(request.url ?? '/', 'https://lab');
  const path = url.pathname.replace(PREFIX, '');
  const client = request.headers['user-agent'];
  if (faults.isDown(node.name) || faults.strike('drop', method, path, ({ when }) => when === 'before')) {
    onRequest({ node: node.name, method, path, status: 0, client });
    return void request.socket.destroy();
  }
  const gateway = faults.strike('gateway', method, path);
  let data: unknown;
  let error: PveError | undefined;
  try {
    if (gateway && gateway.when !== 'after') throw gatewayError(gateway.status);
    data = await handle(cluster, request, method, url, path);
  } catch (thrown) {
    error = thrown instanceof PveError ? thrown : new PveError(500, messageOf(thrown));
    if (!(thrown instanceof PveError))
      cluster.problems.push(`${method} ${path}: ${thrown instanceof Error ? thrown.stack : thrown}`);
  }
  if (gateway) error = gatewayError(gateway.status);
  onRequest({ node: node.name, method, path, status: error?.status ?? 200, message: error?.message, client });
  if (faults.strike('drop', method, path, ({ when }) => when === 'after')) return void request.socket.destroy();
  if (error?.status === 401 || (error?.status === 403 && error.form === 'empty'))
    await cluster.sleep(cluster.latency.authFailure);
  if (error) sendError(response, error);
  else sendData(response, data, faults.strike('drop', method, path, ({ when }) => when === 'during') !== undefined);
}

async function handle(
  cluster: Cluster,
  request: IncomingMessage,
  method: string,
  url: URL,
  path: string,
): Promise<unknown> {
  if (!url.pathname.startsWith(PREFIX)) throw new PveError(404, 'Not Found');
  const isLogin = method === 'POST' && path === '/access/ticket';
  const revoked = cluster.faults.strike('auth', method, path) !== undefined;
  const who: Identity = isLogin ? { id: '', isRoot: false } : cluster.access.identify(request.headers, method, revoked);
  checkUpload(cluster, who, method, path);
  const { params, upload } = await readBody(request, url);
  // Whoever does not wait for the answer has asked all the same.
  const slow = cluster.faults.strike('slow', method, path);
  if (slow) await cluster.sleep(slow.ms);
  const found = router.find(method, path);
  if (isLogin) {
    const given = verify(params, found.route.spec ?? {});
    return cluster.access.login(given.need('username'), given.need('password'));
  }
  const deny = cluster.faults.strike('deny', method, path);
  if (deny) throw new PveError(403, `Permission check failed (${deny.path}, ${deny.privilege})`);
  return dispatch(found, params, cluster, who, upload);
}
