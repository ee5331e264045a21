import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import type { LabHost } from '../../types.ts';
import { textAt } from '../api/thing.ts';
import { Cluster, type Kubelet } from '../cluster.ts';
import type { Faults } from '../faults.ts';
import type { ClusterOptions } from '../index.ts';
import type { Pace } from '../pace.ts';
import type { K3sConfig } from './config.ts';
import { hashOf } from './token.ts';

/** The process was ended before it was up. */
export class Killed extends Error {}

type Backends = Map<string, { host: string; port: number }>;

/**
 * All hosts on which K3s runs, and the clusters that they form: one in a lab that is well, two when a first
 * server was started anew while its peers still ran.
 */
export class K3sHosts {
  readonly options: ClusterOptions;
  readonly pace: Pace;
  readonly faults: Faults;
  readonly backends: Backends = new Map();
  readonly clusters: Cluster[] = [];
  readonly #apis = new Map<string, { server: Server; port: number }>();
  /** How often the K3s of each host was stopped. */
  readonly #stops = new Map<string, number>();
  /** Ends of the pauses of starts that are under way. */
  readonly #waits = new Map<string, Set<() => void>>();
  readonly #later: { cluster: Cluster; act: () => void }[] = [];

  constructor(options: ClusterOptions, pace: Pace, faults: Faults) {
    this.options = options;
    this.pace = pace;
    this.faults = faults;
  }

  newCluster(given: { secret: string; critical: Record<string, string>; etcd: boolean; config: K3sConfig }): Cluster {
    const caHash = hashOf(this.options.ca.certificate);
    const cluster = new Cluster(this.options, this, { ...given, caHash });
    this.clusters.push(cluster);
    return cluster;
  }

  /** The K3s process of a host, with its cluster. */
  running(host: LabHost): { kubelet: Kubelet; cluster: Cluster } | undefined {
    for (const cluster of this.clusters)
      for (const kubelet of cluster.kubelets.values()) if (kubelet.host.name === host.name) return { kubelet, cluster };
    return undefined;
  }

  async stopped(host: LabHost): Promise<void> {
    this.#stops.set(host.name, this.#stopsOf(host) + 1);
    for (const end of [...(this.#waits.get(host.name) ?? [])]) end();
    const found = this.running(host);
    if (!found) return;
    await this.#closeApi(host.address);
    await found.cluster.stopped(found.kubelet.node);
  }

  /** Lets time pass for a start. @throws Killed when the host's K3s was stopped meanwhile */
  async pause(host: LabHost, ms: number): Promise<void> {
    const before = this.#stopsOf(host);
    const waits = this.#waits.get(host.name) ?? new Set();
    this.#waits.set(host.name, waits);
    await new Promise<void>((resolve) => {
      const timer = setTimeout(end, ms);
      function end(): void {
        clearTimeout(timer);
        waits.delete(end);
        resolve();
      }
      waits.add(end);
    });
    if (this.#stopsOf(host) !== before) throw new Killed('signal: killed');
  }

  /** Whether a firewall drops what one host sends to a port of another. */
  blocks(from: LabHost, to: LabHost, port: number): boolean {
    return this.faults.blocked.some((one) => one.from === from.name && one.to === to.name && one.port === port);
  }

  /** The K3s process of the host with that address. */
  at(address: string): { kubelet: Kubelet; cluster: Cluster } | undefined {
    for (const cluster of this.clusters)
      for (const kubelet of cluster.kubelets.values())
        if (kubelet.host.address === address) return { kubelet, cluster };
    return undefined;
  }

  /** The host of a kubelet, by its address, or by the one that it has in the network of pods. */
  kubeletAt(address: string): LabHost | undefined {
    const near = this.at(address)?.kubelet.host;
    if (near) return near;
    for (const cluster of this.clusters) {
      const node = cluster.store
        .list('v1', 'Node')
        .find((one) => textAt(one, 'spec.podCIDR').split('/')[0] === address);
      const host = node && cluster.kubelets.get(node.metadata.name)?.host;
      if (host) return host;
    }
    return undefined;
  }

  /** A port that listens, for whoever only wants to know whether one does. */
  anyApiPort(): number | undefined {
    return [...this.#apis.values()][0]?.port;
  }

  /** Registers a node when etcd has its quorum again. */
  registerLater(cluster: Cluster, act: () => void): void {
    this.#later.push({ cluster, act });
  }

  /** A server's port 6443: it shows the cluster's CA, and nothing else to who has no certificate of a client. */
  async openApi({ host }: Kubelet, cluster: Cluster): Promise<void> {
    for (const { act } of this.#later.splice(0).filter((entry) => this.#isReady(entry))) act();
    await this.#closeApi(host.address);
    const { ca } = this.options;
    const shown = await ca.issue([host.name], [host.address]);
    const asking = { ...shown, ca: ca.certificate, requestCert: true, rejectUnauthorized: false };
    const server = createServer(asking, (request, response) => {
      const isKnown = (request.socket as TLSSocket).authorized;
      const open: Record<string, string> = {
        ...{ '/ping': 'pong', '/cacerts': ca.certificate },
        ...(isKnown ? { '/readyz': 'ok' } : {}),
      };
      const body = cluster.refusal() === undefined ? open[request.url ?? ''] : undefined;
      response.writeHead(body === undefined ? 401 : 200).end(body ?? 'Unauthorized\n');
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    const { port } = server.address() as AddressInfo;
    server.unref();
    this.#apis.set(host.address, { server, port });
    this.options.endpoints.set(`${host.address}:6443`, `127.0.0.1:${port}`);
  }

  apiPort(address: string): number | undefined {
    return this.#apis.get(address)?.port;
  }

  async close(): Promise<void> {
    for (const address of [...this.#apis.keys()]) await this.#closeApi(address);
    for (const cluster of this.clusters) await cluster.close();
  }

  #isReady(entry: { cluster: Cluster; act: () => void }): boolean {
    if (entry.cluster.refusal() === undefined) return true;
    this.#later.push(entry);
    return false;
  }

  #stopsOf({ name }: LabHost): number {
    return this.#stops.get(name) ?? 0;
  }

  async #closeApi(address: string): Promise<void> {
    const open = this.#apis.get(address);
    if (!open) return;
    this.#apis.delete(address);
    this.options.endpoints.set(`${address}:6443`, null);
    open.server.closeAllConnections();
    await new Promise<void>((resolve) => open.server.close(() => resolve()));
  }
}
