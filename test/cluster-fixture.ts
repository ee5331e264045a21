import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { LabCa } from '../lib/lab/ca.ts';
import { type ClusterOptions, type LabCluster, startCluster } from '../lib/lab/cluster/index.ts';
import { EndpointFile } from '../lib/lab/endpoint-file.ts';
import type { LabHost, ProgramResult } from '../lib/lab/types.ts';
import type { EndpointTable } from '../lib/ports/endpoints.ts';
import type { KubeObject } from '../lib/step.ts';

export type FakeHost = LabHost & { journal: string[] };

/** A cluster on hosts that are only folders, for tests of the emulator itself. */
export type Bench = {
  cluster: LabCluster;
  ca: LabCa;
  folder: string;
  host(name: string, address: string, gpus?: string[]): FakeHost;
  /** `k3s kubectl` as root on a host. */
  kubectl(host: LabHost, args: string[], stdin?: string): Promise<ProgramResult>;
  apply(host: LabHost, ...objects: KubeObject[]): Promise<ProgramResult>;
  json(host: LabHost, args: string[]): Promise<Record<string, unknown>>;
  table(): EndpointTable;
  close(): Promise<void>;
};

export const VERSION = 'v1.36.5+k3s1';
export const SERVER = 'disable: [servicelb]\ncluster-cidr: 10.42.0.0/16\nservice-cidr: 10.43.0.0/16\n';

export async function bench(options: Partial<ClusterOptions> = {}): Promise<Bench> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-cluster-'));
  const ca = await LabCa.create();
  const file = join(folder, 'endpoints.json');
  const endpoints = new EndpointFile(file);
  const pace = {
    tick: 3,
    unitStart: 8,
    unitStop: 3,
    node: 6,
    pod: 5,
    webhook: 60,
    certificate: 5,
    eviction: 60,
    retry: 300,
  };
  const cluster = await startCluster({ ca, endpoints, pace, ...options });
  const kubectl: Bench['kubectl'] = async (host, args, stdin = '') => {
    const argv = ['k3s', 'kubectl', ...args];
    return (await cluster.programs.get('k3s')?.({ host, argv, env: {}, cwd: '/', stdin, root: true })) ?? { code: 127 };
  };
  return {
    cluster,
    ca,
    folder,
    host: (name, address, gpus = []) => fakeHost(folder, name, address, gpus),
    kubectl,
    apply: (host, ...objects) =>
      kubectl(
        host,
        ['apply', '--server-side', '--field-manager=homelab', '-f', '-'],
        JSON.stringify({ apiVersion: 'v1', kind: 'List', items: objects }),
      ),
    json: async (host, args) => {
      const { stdout, stderr } = await kubectl(host, ['get', ...args, '-o', 'json']);
      if (!stdout) throw new Error(stderr || 'nothing');
      return JSON.parse(stdout) as Record<string, unknown>;
    },
    table: () => JSON.parse(readFileSync(file, 'utf8')) as EndpointTable,
    close: async () => {
      await cluster.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

function fakeHost(folder: string, name: string, address: string, gpus: string[]): FakeHost {
  const root = mkdtempSync(join(folder, `${name}-`));
  const journal: string[] = [];
  const host: FakeHost = {
    ...{ name, address, root, gpus, journal, cores: 4, memoryMib: 4096 },
    readFile: (path) => {
      try {
        return readFileSync(join(root, path), 'utf8');
      } catch {
        return undefined;
      }
    },
    writeFile: (path, content, mode = 0o644) => {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), content, { mode });
    },
    log: (unit, line) => journal.push(`${unit}: ${line}`),
  };
  host.writeFile('/usr/local/bin/k3s', `K3s ${VERSION}\n`, 0o755);
  return host;
}

/** Two servers and an agent, as homelab.yaml says it. */
export async function threeNodes(lab: Bench): Promise<{ first: FakeHost; second: FakeHost; gpu: FakeHost }> {
  const first = lab.host('k3s-cp-01', '10.20.11.80');
  const second = lab.host('k3s-cp-02', '10.20.11.81');
  const gpu = lab.host('k3s-gpu-01', '10.20.11.85', ['rtx4000ada']);
  const join = 'server: https://10.20.11.80:6443\ntoken: s3cret\n';
  first.writeFile('/etc/rancher/k3s/config.yaml', `cluster-init: true\ntoken: s3cret\n${SERVER}`);
  second.writeFile('/etc/rancher/k3s/config.yaml', `${join}${SERVER}`);
  gpu.writeFile(
    '/etc/rancher/k3s/config.yaml',
    `${join}node-label: [nvidia.com/gpu.present=true]\nnode-taint: ["dedicated=gpu:NoSchedule"]\n`,
  );
  for (const [unit, host] of [
    ['k3s', first],
    ['k3s', second],
    ['k3s-agent', gpu],
  ] as const) {
    const started = await lab.cluster.units.get(unit)?.start(host);
    if (!started?.ok) throw new Error(host.journal.join('\n'));
  }
  return { first, second, gpu };
}

export function object(
  apiVersion: string,
  kind: string,
  name: string,
  namespace: string | undefined,
  rest: Record<string, unknown>,
): KubeObject {
  return { apiVersion, kind, metadata: namespace ? { name, namespace } : { name }, ...rest };
}
