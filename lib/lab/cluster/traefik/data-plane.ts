import {
  createServer as createPlain,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import { createServer as createSecure } from 'node:https';
import { type AddressInfo, connect, createServer as createTcp, type Server as TcpServer } from 'node:net';
import { createSecureContext } from 'node:tls';
import { LabCa } from '../../ca.ts';
import type { EndpointFile } from '../../endpoint-file.ts';
import { fullName, selects, textAt, textsAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { hasEndpoints } from '../controllers/endpoints.ts';
import { portsOf } from '../controllers/metallb.ts';
import { answer, certificateFor, type EntryPoint, type Reply, served } from './routing.ts';

/** What listens at an address and port: Traefik's entry points, or one Service. */
type Target = { service: string; port: string; entryPoint?: EntryPoint };
type Open = { target: Target; server: Server | TcpServer; port: number };

/** Keeps a real listener on loopback for each port of each load balancer that is answered for, and of each ClusterIP. */
export class DataPlane {
  readonly #cluster: Cluster;
  readonly #endpoints: EndpointFile;
  readonly #open = new Map<string, Open>();
  readonly #known = new Set<string>();

  constructor(cluster: Cluster, endpoints: EndpointFile) {
    this.#cluster = cluster;
    this.#endpoints = endpoints;
  }

  /** The listener behind "address:port". */
  port(key: string): number | undefined {
    return this.#open.get(key)?.port;
  }

  /** Opens what is wanted ("address:port" → target), and closes the rest. */
  async sync(wanted: ReadonlyMap<string, Target>): Promise<void> {
    for (const [key, { target }] of this.#open)
      if (JSON.stringify(wanted.get(key)) !== JSON.stringify(target)) await this.#close(key);
    for (const [key, target] of wanted) if (!this.#open.has(key)) await this.#listen(key, target);
  }

  async clear(): Promise<void> {
    await this.sync(new Map());
  }

  async close(): Promise<void> {
    await this.clear();
  }

  async #listen(key: string, target: Target): Promise<void> {
    const server = await this.#server(target);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    server.unref();
    const { port } = server.address() as AddressInfo;
    this.#open.set(key, { target, server, port });
    const address = key.slice(0, key.lastIndexOf(':'));
    if (isClusterIp(this.#cluster, address)) return;
    this.#endpoints.set(key, `127.0.0.1:${port}`);
    // Its other ports belong to the lab too, and nothing listens there. A node's address is not ours to set.
    if (!this.#known.has(address) && !this.#isNode(address)) this.#endpoints.set(address, null);
    this.#known.add(address);
  }

  #isNode(address: string): boolean {
    return [...this.#cluster.kubelets.values()].some(({ host }) => host.address === address);
  }

  async #close(key: string): Promise<void> {
    const open = this.#open.get(key);
    if (!open) return;
    this.#open.delete(key);
    if (!isClusterIp(this.#cluster, key.slice(0, key.lastIndexOf(':')))) this.#endpoints.set(key, null);
    if ('closeAllConnections' in open.server) open.server.closeAllConnections();
    await new Promise<void>((resolve) => open.server.close(() => resolve()));
  }

  async #server({ service, port, entryPoint }: Target): Promise<Server | TcpServer> {
    const cluster = this.#cluster;
    const [namespace = '', name = ''] = service.split('/');
    const backend = cluster.backends.get(service);
    if (!entryPoint && backend)
      return createTcp((socket) => {
        const behind = connect(backend.port, backend.host);
        socket.pipe(behind).pipe(socket);
        for (const [one, other] of [[socket, behind] as const, [behind, socket] as const])
          one.on('error', () => other.destroy());
      });
    const handle = (incoming: IncomingMessage, response: ServerResponse): void => {
      const host = (incoming.headers.host ?? '').replace(/:\d+$/, '');
      const reply = entryPoint
        ? answer(cluster, entryPoint, host, incoming.url ?? '/')
        : direct(cluster, namespace, name, port, incoming.url ?? '/');
      send(reply, incoming, response);
    };
    if (entryPoint !== 'websecure') return createPlain(handle);
    const own = await (await LabCa.create('TRAEFIK DEFAULT CERT')).issue(['TRAEFIK DEFAULT CERT']);
    return createSecure(
      {
        ...own,
        SNICallback: (serverName, done) => {
          const pair = certificateFor(cluster, serverName);
          done(null, pair ? createSecureContext(pair) : undefined);
        },
      },
      handle,
    );
  }
}

function direct(cluster: Cluster, namespace: string, name: string, port: string, url: string): Reply {
  if (!hasEndpoints(cluster, namespace, name)) return { status: 503, headers: {}, body: 'no endpoints\n' };
  const reply = served(cluster, namespace, name, port);
  const message = /^\/echo\?msg=([^&]*)/.exec(url)?.[1];
  return message !== undefined && isAgnhost(cluster, namespace, name) ? { ...reply, body: message } : reply;
}

/** Whether a Service's pods run the test server that says what it is told to. */
function isAgnhost(cluster: Cluster, namespace: string, name: string): boolean {
  const selector = textsAt(cluster.store.get('v1', 'Service', name, namespace), 'spec.selector');
  return cluster.store
    .list('v1', 'Pod', namespace)
    .some(
      (pod) => selects(selector, pod.metadata.labels) && textAt(pod, 'spec.containers.0.image').includes('/agnhost:'),
    );
}

/** Sends a reply, or what the real program behind the Service answers. */
function send(reply: Reply, incoming: IncomingMessage, response: ServerResponse): void {
  if (!reply.backend) {
    response
      .writeHead(reply.status, { ...reply.headers, 'content-length': Buffer.byteLength(reply.body) })
      .end(reply.body);
    return;
  }
  const { host, port } = reply.backend;
  const onward = request(
    { host, port, method: incoming.method, path: incoming.url, headers: incoming.headers },
    (answered) => {
      response.writeHead(answered.statusCode ?? 502, answered.headers);
      answered.pipe(response);
    },
  );
  onward.on('error', () => response.writeHead(502).end('Bad Gateway'));
  incoming.pipe(onward);
}

function isClusterIp(cluster: Cluster, address: string): boolean {
  const [a, b] = cluster.api.serviceCidr.split('.');
  return address.startsWith(`${a}.${b}.`);
}

/** The controller: a listener for each announced address, and for each ClusterIP that has something behind it. */
export async function syncDataPlane(cluster: Cluster): Promise<void> {
  const wanted = new Map<string, Target>();
  for (const service of cluster.store.list('v1', 'Service')) {
    const { name, namespace = '' } = service.metadata;
    if (!hasEndpoints(cluster, namespace, name)) continue;
    const addresses = [...cluster.announced]
      .filter(([, { service: of }]) => of === fullName(service))
      .map(([ip]) => ip);
    for (const { name: portName, port } of portsOf(service)) {
      const traefik = namespace === 'kube-system' && name === 'traefik';
      const entryPoint = traefik && (portName === 'web' || portName === 'websecure') ? portName : undefined;
      const target: Target = { service: fullName(service), port: String(port), ...(entryPoint ? { entryPoint } : {}) };
      for (const ip of addresses) wanted.set(`${ip}:${port}`, target);
      const clusterIp = textAt(service, 'spec.clusterIP');
      if (namespace !== 'kube-system' && clusterIp.includes('.')) wanted.set(`${clusterIp}:${port}`, target);
    }
  }
  await cluster.dataPlane.sync(wanted);
}
