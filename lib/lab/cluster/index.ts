import { readFileSync } from 'node:fs';
import type { LabCa } from '../ca.ts';
import type { EndpointFile } from '../endpoint-file.ts';
import type { LabHost, Program, Unit } from '../types.ts';
import { type Faults, noFaults } from './faults.ts';
import { K3sHosts } from './k3s/hosts.ts';
import { machinePrograms } from './k3s/machine.ts';
import { k3sProgram, kubectlProgram } from './k3s/program.ts';
import { k3sUnit } from './k3s/units.ts';
import { defaultPace, type Pace } from './pace.ts';
import { routeTo } from './route.ts';
import { snapshotOf } from './snapshot.ts';

/** A NAS, asked by the emulated csi-driver-nfs for a directory. `client` is the address of the node that mounts. */
export type ProvisionNfs = (
  server: string,
  share: string,
  subdir: string,
  client: string,
) => { ok: true; folder: string } | { ok: false; message: string };

export type ClusterOptions = {
  /** Plays Let's Encrypt's part, and signs the API servers' certificates. */
  ca: LabCa;
  /** Gets "address:port" of each load balancer and API server. */
  endpoints: EndpointFile;
  provisionNfs?: ProvisionNfs;
  pace?: Partial<Pace>;
};

/** What a cluster holds, without what changes from run to run (uids, times, versions, generated names). */
export type ClusterSnapshot = { clusters: { servers: string[]; objects: Record<string, unknown> }[] };

export type LabCluster = {
  /** `k3s` and `kubectl`, 127 on a host where install.sh has not put them, and what else such a host answers. */
  programs: Map<string, Program>;
  /** `k3s` and `k3s-agent`. */
  units: Map<string, Unit>;
  /** A ClusterIP, a load balancer's address or an API server, from a host of the lab. */
  route(from: LabHost, address: string, port: number): { host: string; port: number } | undefined;
  /** A real program on loopback that stands behind a Service ("databases/postgresql"); null takes it away. */
  setBackend(service: string, target: { host: string; port: number } | null): void;
  /** The node that answers ARP for a load balancer's address, when one does. */
  announces(address: string): string | undefined;
  snapshot(): ClusterSnapshot;
  /** Mutable: what goes wrong on request. */
  faults: Faults;
  /** Resolves when no controller has anything left to do. @throws Error after `ms` milliseconds */
  settle(ms?: number): Promise<void>;
  close(): Promise<void>;
};

/** The stand-in for K3s's install script that the lab's download server serves. */
export function installScript(): string {
  return readFileSync(new URL('./install.sh', import.meta.url), 'utf8');
}

/** Path under raw.githubusercontent.com at which a version's install script is served. */
export function installScriptPath(version: string): string {
  return `/k3s-io/k3s/${version.replace('+', '%2B')}/install.sh`;
}

/** An emulator of K3s as the scripts see it: units, `k3s kubectl`, the controllers whose outcome is proven, load balancers. */
export async function startCluster(options: ClusterOptions): Promise<LabCluster> {
  const faults = noFaults();
  const hosts = new K3sHosts(options, { ...defaultPace, ...options.pace }, faults);
  return {
    programs: new Map([['k3s', k3sProgram(hosts)], ['kubectl', kubectlProgram(hosts)], ...machinePrograms(hosts)]),
    units: new Map([
      ['k3s', k3sUnit('server', hosts)],
      ['k3s-agent', k3sUnit('agent', hosts)],
    ]),
    route: (from, address, port) => routeTo(hosts, from, address, port),
    setBackend: (service, target) => {
      if (target) hosts.backends.set(service, target);
      else hosts.backends.delete(service);
      for (const cluster of hosts.clusters) cluster.loop.poke();
    },
    announces: (address) => hosts.clusters.flatMap((cluster) => cluster.announced.get(address)?.node ?? [])[0],
    snapshot: () => snapshotOf(hosts.clusters),
    faults,
    settle: async (ms = 10_000) => {
      for (const cluster of hosts.clusters) await cluster.loop.settled(ms);
    },
    close: () => hosts.close(),
  };
}
