import type { Program, ProgramCall, ProgramResult } from '../../types.ts';
import { ApiError, NoConnection } from '../api/errors.ts';
import { fullName } from '../api/thing.ts';
import { kubectl } from '../kubectl/index.ts';
import { installedVersion } from './files.ts';
import type { K3sHosts } from './hosts.ts';
import { clusterReset } from './reset.ts';
import { etcdSnapshot } from './snapshots.ts';

const KUBECONFIG = '/etc/rancher/k3s/k3s.yaml';
const NO_RESPONSE =
  'the server was unable to return a response in the time allotted, but may still be processing the request';

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
      case 'server':
        return clusterReset(call, rest, hosts);
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
    // What etcd says reaches nobody then: the API server waits for it, for a minute (here: not at all).
    if (refusal === 'etcdserver: request timed out') throw new ApiError('Timeout', NO_RESPONSE);
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
