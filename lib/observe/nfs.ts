import type { Nas } from '../config/schema.ts';
import { messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import type { LinuxNasSeen, NfsClusterSeen, NfsSeen, PveStorage } from '../plan/nfs-seen.ts';
import type { Answer, KubeReader, Readers, SshReader } from '../ports/types.ts';
import { EXPORTS_FILE } from '../render/exports.ts';
import { CSI_DRIVER_NFS, CSI_WORKLOADS } from '../render/nfs.ts';
import { observeChart } from './chart.ts';

/** NAS that scripts can ask, K3s nodes, Proxmox storages and StorageClasses, side by side. */
export async function observeNfs(
  { config }: Lab,
  { ssh, pve, kube }: Pick<Readers, 'ssh' | 'pve' | 'kube'>,
): Promise<NfsSeen> {
  const linux = config.nas.filter(({ kind }) => kind === 'linux');
  const [nas, nodes, storages, cluster] = await Promise.all([
    Promise.all(linux.map(async (each) => [each.name, await observeNas(each, ssh)] as const)),
    Promise.all(config.k3s.nodes.map(async ({ name }) => [name, await hasNfsClient(name, ssh)] as const)),
    pve.get<PveStorage[]>('/storage'),
    observeCluster(kube),
  ]);
  return { nas: Object.fromEntries(nas), nodes: Object.fromEntries(nodes), storages, cluster };
}

/** A Linux NAS: its exports file, what is in force, and which folders are not there. */
export async function observeNas({ name, exports }: Nas, ssh: SshReader): Promise<Answer<LinuxNasSeen>> {
  const file = await ssh.readFile(name, EXPORTS_FILE, { sudo: true });
  if (!file.ok) return file;
  const active = await ssh.read(name, ['exportfs', '-s'], { sudo: true, deadline: 20 });
  if (!active.ok) return active;
  const missing: string[] = [];
  for (const { path } of exports) {
    const folder = await ssh.read(name, ['test', '-d', path], { sudo: true, deadline: 20 });
    if (!folder.ok) return folder;
    if (folder.value.code !== 0) missing.push(path);
  }
  const { code, stdout } = active.value;
  return { ok: true, value: { file: file.value, active: code === 0 ? stdout : undefined, missing } };
}

async function hasNfsClient(host: string, ssh: SshReader): Promise<Answer<boolean>> {
  const answer = await ssh.read(host, ['dpkg-query', '-W', '-f=${Status}', 'nfs-common'], { deadline: 20 });
  if (!answer.ok) return answer;
  return { ok: true, value: answer.value.code === 0 && answer.value.stdout.includes('ok installed') };
}

async function observeCluster(kube: KubeReader): Promise<Answer<NfsClusterSeen>> {
  const reachable = await kube.reachable();
  if (!reachable.ok) return reachable;
  try {
    const [chart, classes, claims] = await Promise.all([
      observeChart(kube, CSI_DRIVER_NFS, 'kube-system', CSI_WORKLOADS),
      kube.list('storage.k8s.io/v1', 'StorageClass'),
      kube.list('v1', 'PersistentVolumeClaim'),
    ]);
    return { ok: true, value: { chart, classes, claims } };
  } catch (error) {
    return { ok: false, reason: messageOf(error) };
  }
}
