import { existsSync, readdirSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { LabHost, ProgramCall, ProgramResult } from '../../types.ts';
import type { Cluster } from '../cluster.ts';
import type { K3sHosts } from './hosts.ts';

const SNAPSHOTS = '/var/lib/rancher/k3s/server/db/snapshots';

/** What a snapshot's file holds here: all objects, and by what its cluster is known. */
export type Snapshot = { caHash: string; secret: string; objects: string };

/** `save` writes a file beside the database, `delete` takes it away, `ls` lists those of this server. */
export function etcdSnapshot({ host, root }: ProgramCall, args: string[], hosts: K3sHosts): ProgramResult {
  if (!root) return fatal('open /var/lib/rancher/k3s/server/token: permission denied');
  const running = hosts.running(host);
  if (running?.kubelet.role !== 'server')
    return fatal(
      'Error: see server log for details: Post "https://127.0.0.1:6443/db/snapshot": dial tcp 127.0.0.1:6443: connect: connection refused',
    );
  const { cluster, kubelet } = running;
  const refusal = cluster.refusal();
  if (refusal) return fatal(`Error: see server log for details: ${refusal}`);
  const [verb, ...rest] = args;
  if (verb === 'save') return save(cluster, host, kubelet.node, flagValue(rest, '--name') ?? 'on-demand');
  if (verb === 'delete') return remove(cluster, host, rest);
  if (verb === 'ls' || verb === 'list') {
    const rows = local(host).map((name) => {
      const { size, mtime } = statSync(join(host.root, SNAPSHOTS, name));
      return `${name} file://${SNAPSHOTS}/${name} ${size} ${mtime.toISOString()}\n`;
    });
    return { code: 0, stdout: ['Name Location Size Created\n', ...rows].join('') };
  }
  return { code: 1, stderr: `No help topic for '${verb}'\n` };
}

function save(cluster: Cluster, host: LabHost, node: string, name: string): ProgramResult {
  const file = `${name}-${node}-${Math.floor(Date.now() / 1000)}`;
  const snapshot: Snapshot = { caHash: cluster.caHash, secret: cluster.secret, objects: cluster.store.dump() };
  host.writeFile(`${SNAPSHOTS}/${file}`, JSON.stringify(snapshot), 0o600);
  cluster.store.put({
    apiVersion: 'k3s.cattle.io/v1',
    kind: 'ETCDSnapshotFile',
    metadata: { name: file },
    spec: { nodeName: node, location: `file://${SNAPSHOTS}/${file}` },
  });
  return { code: 0, stderr: `level=info msg="Snapshot ${file} saved."\n` };
}

function remove(cluster: Cluster, host: LabHost, names: string[]): ProgramResult {
  const missing = names.find((name) => !local(host).includes(name));
  if (missing !== undefined) return fatal(`snapshot ${missing} not found`);
  for (const name of names) {
    rmSync(join(host.root, SNAPSHOTS, name));
    const object = cluster.store.get('k3s.cattle.io/v1', 'ETCDSnapshotFile', name);
    if (object) cluster.store.purge(object);
  }
  return { code: 0, stderr: names.map((name) => `level=info msg="Snapshot ${name} deleted."\n`).join('') };
}

/** Undefined for what is no snapshot. */
export function parsed(text: string): Snapshot | undefined {
  try {
    return JSON.parse(text) as Snapshot;
  } catch {
    return undefined;
  }
}

function local(host: LabHost): string[] {
  const folder = join(host.root, SNAPSHOTS);
  return existsSync(folder) ? readdirSync(folder).sort() : [];
}

export function fatal(words: string): ProgramResult {
  return { code: 1, stderr: `level=fatal msg=${JSON.stringify(words)}\n` };
}

export function flagValue(args: readonly string[], flag: string): string | undefined {
  const at = args.indexOf(flag);
  return at >= 0 ? args[at + 1] : args.find((arg) => arg.startsWith(`${flag}=`))?.slice(flag.length + 1);
}
