import type { Program, ProgramCall, ProgramResult } from '../../types.ts';
import { ApiError, NoConnection } from '../api/errors.ts';
import { fullName } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { kubectl } from '../kubectl/index.ts';
import { installedVersion } from './files.ts';
import type { K3sHosts } from './hosts.ts';

const KUBECONFIG = '/etc/rancher/k3s/k3s.yaml';
const SNAPSHOTS = '/var/lib/rancher/k3s/server/db/snapshots';

/** The `k3s` program of a host: 127 until install.sh has put it there. */
export function k3sProgram(hosts: K3sHosts): Program {
  return (call) => {
    const version = installedVersion(call.host);
    if (!version) return { code: 127, stderr: `sh: 1: ${call.argv[0]}: not found\n` };
    const [verb = '', ...rest] = call.argv.slice(1);
    switch (verb) {
      case '--version':
      case '-v':
        return { code: 0, stdout: `k3s version ${version} (${version.length}e5d1f0)\ngo version go1.26.4\n` };
      case 'kubectl':
        return runKubectl(call, rest, version, hosts);
      case 'etcd-snapshot':
        return etcdSnapshot(call, rest, hosts);
      case 'check-config':
        return { code: 0, stdout: 'STATUS: pass\n' };
      default:
        return { code: 1, stderr: `No help topic for '${verb}'\n` };
    }
  };
}

/** The link `kubectl` that install.sh makes beside `k3s`. */
export function kubectlProgram(hosts: K3sHosts): Program {
  const k3s = k3sProgram(hosts);
  return (call) => {
    if (call.host.readFile('/usr/local/bin/kubectl') === undefined)
      return { code: 127, stderr: 'sh: 1: kubectl: not found\n' };
    return k3s({ ...call, argv: ['k3s', 'kubectl', ...call.argv.slice(1)] });
  };
}

function runKubectl(
  call: ProgramCall,
  args: string[],
  version: string,
  hosts: K3sHosts,
): Promise<ProgramResult> | ProgramResult {
  const { host, stdin } = call;
  const running = hosts.running(host);
  const kubeconfig = host.readFile(KUBECONFIG);
  if (kubeconfig !== undefined && !call.root)
    return {
      code: 1,
      stderr: `error: error loading config file "${KUBECONFIG}": open ${KUBECONFIG}: permission denied\n`,
    };
  const serving = (): void => {
    if (running?.kubelet.role !== 'server' || hosts.running(host)?.kubelet !== running.kubelet)
      throw new NoConnection(kubeconfig === undefined ? 'localhost:8080' : '127.0.0.1:6443');
    const refusal = running.cluster.refusal();
    if (refusal) throw new ApiError('', refusal);
  };
  // Without a server there is no cluster to ask; the context then only says so.
  const cluster = running?.cluster ?? hosts.clusters[0];
  if (!cluster) return { code: 1, stderr: `${new NoConnection('localhost:8080').message}\n` };
  return kubectl(
    { api: cluster.api, host, stdin, version, serving, logs: (pod) => cluster.logs.get(fullName(pod)) ?? '' },
    args,
  );
}

/** `save` writes a file beside the database, `ls` lists them. */
function etcdSnapshot({ host, root }: ProgramCall, args: string[], hosts: K3sHosts): ProgramResult {
  if (!root)
    return { code: 1, stderr: 'level=fatal msg="open /var/lib/rancher/k3s/server/token: permission denied"\n' };
  const running = hosts.running(host);
  if (running?.kubelet.role !== 'server')
    return {
      code: 1,
      stderr:
        'level=fatal msg="Error: see server log for details: Post \\"https://127.0.0.1:6443/db/snapshot\\": dial tcp 127.0.0.1:6443: connect: connection refused"\n',
    };
  const [verb] = args;
  if (verb === 'save') return save(running.cluster, host.name, flagValue(args, '--name') ?? 'on-demand');
  if (verb === 'ls' || verb === 'list') {
    const rows = running.cluster.store
      .list('k3s.cattle.io/v1', 'ETCDSnapshotFile')
      .map((file) => `${file.metadata.name} file://${SNAPSHOTS}/${file.metadata.name}\n`);
    return { code: 0, stdout: ['Name Location\n', ...rows].join('') };
  }
  return { code: 1, stderr: `No help topic for '${verb}'\n` };

  function save(cluster: Cluster, node: string, name: string): ProgramResult {
    const file = `${name}-${node}-${Math.floor(Date.now() / 1000)}`;
    const objects = JSON.stringify(cluster.store.all().map((object) => `${object.kind} ${fullName(object)}`));
    host.writeFile(`${SNAPSHOTS}/${file}`, objects, 0o600);
    cluster.store.put({
      apiVersion: 'k3s.cattle.io/v1',
      kind: 'ETCDSnapshotFile',
      metadata: { name: file },
      spec: { nodeName: node, location: `file://${SNAPSHOTS}/${file}` },
    });
    return { code: 0, stdout: `level=info msg="Snapshot ${file} saved."\n` };
  }
}

function flagValue(args: readonly string[], flag: string): string | undefined {
  const at = args.indexOf(flag);
  return at >= 0 ? args[at + 1] : args.find((arg) => arg.startsWith(`${flag}=`))?.slice(flag.length + 1);
}
