import { createServer, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { LabHost } from '../../types.ts';
import { Cluster, type Kubelet } from '../cluster.ts';
import type { Faults } from '../faults.ts';
import type { ClusterOptions } from '../index.ts';
import type { Pace } from '../pace.ts';
import type { K3sConfig } from './config.ts';
import { hashOf } from './token.ts';

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
    const found = this.running(host);
    if (!found) return;
    await this.#closeApi(host.address);
    await found.cluster.stopped(found.kubelet.node);
  }

  /** Registers a node when etcd has its quorum again. */
  registerLater(cluster: Cluster, act: () => void): void {
    this.#later.push({ cluster, act });
  }

  /** A server's port 6443: it shows the cluster's CA, and nothing else to who has no credentials. */
  async openApi({ host }: Kubelet, cluster: Cluster): Promise<void> {
    for (const { act } of this.#later.splice(0).filter((entry) => this.#isReady(entry))) act();
    await this.#closeApi(host.address);
    const server = createServer(await this.options.ca.issue([host.name], [host.address]), (request, response) => {
      const open: Record<string, string> = { '/ping': 'pong', '/cacerts': this.options.ca.certificate };
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

  async #closeApi(address: string): Promise<void> {
    const open = this.#apis.get(address);
    if (!open) return;
    this.#apis.delete(address);
    this.options.endpoints.set(`${address}:6443`, null);
    open.server.closeAllConnections();
    await new Promise<void>((resolve) => open.server.close(() => resolve()));
  }
}
