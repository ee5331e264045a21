import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { messageOf } from '../../errors.ts';
import type { LabCa } from '../ca.ts';
import type { Identity } from './access.ts';
import { readBody } from './body.ts';
import type { Cluster } from './cluster.ts';
import { clusterRoutes } from './cluster-routes.ts';
import { PveError } from './errors.ts';
import { nodeRoutes } from './node-routes.ts';
import { verify } from './params.ts';
import { dispatch, Router } from './router.ts';
import { storageConfigRoutes } from './storage-config.ts';
import { storageRoutes } from './storage-routes.ts';
import type { NodeSpec } from './types.ts';
import { vmRoutes } from './vm-routes.ts';

/** A request as the lab's journal keeps it. */
export type Seen = { node: string; method: string; path: string; status: number; message?: string };

const PREFIX = '/api2/json';
/** Exactly this: npm proxmox-api takes no other. */
const JSON_TYPE = 'application/json;charset=UTF-8';

const router = new Router([...clusterRoutes, ...nodeRoutes, ...storageConfigRoutes, ...storageRoutes, ...vmRoutes]);

/** One node's pveproxy, on a loopback port of its own. */
export async function serveNode(
  node: NodeSpec,
  cluster: Cluster,
  ca: LabCa,
  onRequest: (seen: Seen) => void,
): Promise<Server> {
  const { cert, key } = await ca.issue([node.name, 'localhost'], [node.address, '127.0.0.1']);
  const server = createServer({ cert, key }, (request, response) => {
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
  if (faults.isDown(node.name) || faults.strike('drop', method, path, ({ when }) => when === 'before')) {
    onRequest({ node: node.name, method, path, status: 0 });
    return void request.socket.destroy();
  }
  const slow = faults.strike('slow', method, path);
  if (slow) await cluster.sleep(slow.ms);

  let result: { status: number; data: unknown; error?: PveError };
  try {
    result = { status: 200, data: await handle(cluster, request, method, url, path) };
  } catch (thrown) {
    const error = thrown instanceof PveError ? thrown : new PveError(500, messageOf(thrown));
    if (!(thrown instanceof PveError))
      cluster.problems.push(`${method} ${path}: ${thrown instanceof Error ? thrown.stack : thrown}`);
    result = { status: error.status, data: null, error };
  }
  onRequest({ node: node.name, method, path, status: result.status, message: result.error?.message });
  if (faults.strike('drop', method, path, ({ when }) => when === 'after')) return void request.socket.destroy();
  if (result.status === 401) await cluster.sleep(cluster.latency.authFailure);
  send(response, result);
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
  const who: Identity = isLogin ? { id: '', isRoot: false } : cluster.access.identify(request.headers, method);
  const found = router.find(method, path);
  const { params, upload } = await readBody(request, url);
  if (isLogin) {
    const given = verify(params, found.route.spec ?? {});
    return cluster.access.login(given.need('username'), given.need('password'));
  }
  const deny = cluster.faults.strike('deny', method, path);
  if (deny) throw new PveError(403, `Permission check failed (${deny.path}, ${deny.privilege})`);
  return dispatch(found, params, cluster, who, upload);
}

function send(
  response: ServerResponse,
  { status, data, error }: { status: number; data: unknown; error?: PveError },
): void {
  if (!error) {
    response.writeHead(200, { 'content-type': JSON_TYPE, 'cache-control': 'no-store' });
    return void response.end(JSON.stringify({ data }));
  }
  const [firstLine = ''] = error.message.split('\n');
  const reason = firstLine.replace(/[^\x20-\x7e]/g, '?') || STATUS_CODES[status] || '';
  // The request's body may not have been read: the connection cannot serve another one.
  response.shouldKeepAlive = false;
  if (status === 401) {
    response.writeHead(status, reason, { connection: 'close' });
    return void response.end();
  }
  response.writeHead(status, reason, { 'content-type': JSON_TYPE, connection: 'close' });
  response.end(JSON.stringify({ data, message: `${error.message}\n`, ...(error.errors && { errors: error.errors }) }));
}
