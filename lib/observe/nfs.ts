import { ofKind } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { labHosts } from '../plan/nfs-exports.ts';
import { nasPorts } from '../plan/nfs-reach.ts';
import type { LinuxNasSeen, NfsClusterSeen, NfsHostSeen, NfsSeen, PveStorage } from '../plan/nfs-seen.ts';
import type { Answer, KubeReader, Outcome, Readers, SshReader } from '../ports/types.ts';
import { CSI_DRIVER_NFS, CSI_WORKLOADS } from '../render/nfs.ts';
import { observeApplications } from './applications.ts';
import { CHART_KINDS, chartIn } from './chart.ts';
import { readPatiently } from './k3s.ts';
import { HOST_SCRIPT, NAS_SCRIPT, parseHost, parseNas } from './nfs-facts.ts';

/** NAS that scripts can ask, the nodes that mount, Proxmox storages, the cluster, side by side: one round trip each. */
export async function observeNfs(
  lab: Lab,
  { ssh, pve, kube, files, clock }: Pick<Readers, 'ssh' | 'pve' | 'kube' | 'files' | 'clock'>,
): Promise<NfsSeen> {
  const { config } = lab;
  const linux = config.nas.filter(({ kind }) => kind === 'linux');
  const places = config.nas.flatMap((each) => nasPorts(each).map((port) => `${each.address} ${port}`));
  const [nas, hosts, storages, cluster, { placed }] = await Promise.all([
    Promise.all(linux.map(async (each) => [each.name, await observeNas(each, ssh)] as const)),
    Promise.all(labHosts(config).map(async (name) => [name, await observeHost(name, places, ssh)] as const)),
    pve.get<PveStorage[]>('/storage'),
    observeCluster(kube),
    observeApplications(lab, { files }),
  ]);
  const now = clock.now().getTime();
  const named = { nas: Object.fromEntries(nas), hosts: Object.fromEntries(hosts) };
  return { ...named, storages, cluster, applications: placed, now };
}

async function observeHost(name: string, places: readonly string[], ssh: SshReader): Promise<Answer<NfsHostSeen>> {
  const answer = await asRoot(ssh, name, HOST_SCRIPT, places);
  return answer.ok ? { ok: true, value: parseHost(answer.value.stdout) } : answer;
}

/** A Linux NAS: its exports file, what is in force, and which folders are not there. */
export async function observeNas(
  { name, exports }: { name: string; exports: readonly { path: string }[] },
  ssh: SshReader,
): Promise<Answer<LinuxNasSeen>> {
  const paths = exports.map(({ path }) => path);
  const answer = await asRoot(ssh, name, NAS_SCRIPT, paths);
  return answer.ok ? { ok: true, value: parseNas(answer.value.stdout) } : answer;
}

/** A look that ended early, or was not let in, is no look. */
async function asRoot(ssh: SshReader, host: string, script: string, args: readonly string[]): Promise<Answer<Outcome>> {
  const answer = await readPatiently(ssh, host, ['sh', '-c', script, 'sh', ...args], { sudo: true, deadline: 60 });
  if (!answer.ok || answer.value.code === 0) return answer;
  const { code, stderr } = answer.value;
  return {
    ok: false,
    reason: `it cannot be looked at as root (exit code ${code}): ${stderr.trim().split('\n').at(-1)}`,
  };
}

const STORAGE_CLASS = { apiVersion: 'storage.k8s.io/v1', kind: 'StorageClass' };
const CLAIM = { apiVersion: 'v1', kind: 'PersistentVolumeClaim' };
const POD = { apiVersion: 'v1', kind: 'Pod' };

async function observeCluster(kube: KubeReader): Promise<Answer<NfsClusterSeen>> {
  const answer = await kube.survey([...CHART_KINDS, STORAGE_CLASS, CLAIM, POD]);
  if (!answer.ok) return answer;
  const objects = answer.value;
  return {
    ok: true,
    value: {
      chart: chartIn(objects, CSI_DRIVER_NFS, 'kube-system', CSI_WORKLOADS),
      classes: ofKind(objects, STORAGE_CLASS),
      claims: ofKind(objects, CLAIM),
      pods: ofKind(objects, POD),
    },
  };
}
