import { meet } from '../conditions.ts';
import { messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { findExport, servers } from '../lookup.ts';
import { dig, textOf } from '../loose.ts';
import type { KubeRef, Ports } from '../ports/types.ts';
import { folderOf, type StorageClassConfig } from '../render/nfs.ts';
import { judgeFolder } from '../render/nfs-proof.ts';
import type { KubeObject, Proof } from '../step.ts';
import { proofName, runErrand } from './nfs-mounts.ts';

const CLAIM = 'claim';
const LABEL = 'homelab/proof';
const NAMESPACE = /^homelab-proof-[0-9a-f]{8}$/;
const BOUND_WITHIN = 120;

type World = Pick<Ports, 'kube' | 'ssh' | 'clock'>;

/**
 * A throw-away claim of a StorageClass binds, and its folder appears in the export under the name that
 * homelab.yaml gives it. Everything is removed again, also what an interrupted run left: the class retains
 * volumes and folders, so that nobody else would.
 */
export async function proveClaim(lab: Lab, ports: World, storageClass: StorageClassConfig): Promise<Proof[]> {
  const namespace = proofName();
  const claim = `a claim of ${storageClass.name} gets its folder`;
  const proofs: Proof[] = [];
  try {
    for (const left of await leftovers(ports, storageClass)) await remove(lab, ports, storageClass, left);
    proofs.push({ claim, ...(await tryClaim(lab, ports, storageClass, namespace)) });
  } catch (error) {
    proofs.push({ claim, ok: false, detail: messageOf(error) });
  }
  try {
    await remove(lab, ports, storageClass, namespace);
  } catch (error) {
    proofs.push({ claim: `what proved ${storageClass.name} is removed`, ok: false, detail: messageOf(error) });
  }
  return proofs;
}

async function tryClaim(
  lab: Lab,
  ports: World,
  storageClass: StorageClassConfig,
  namespace: string,
): Promise<{ ok: boolean; detail: string }> {
  await ports.kube.apply([
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: { [LABEL]: storageClass.name } } },
  ]);
  await ports.kube.apply([claimObject(storageClass.name, namespace)]);
  await meet({ kube: claimRef(namespace), path: 'status.phase', equals: 'Bound' }, BOUND_WITHIN, ports);
  const volume = textOf(dig(await ports.kube.get(claimRef(namespace)), 'spec', 'volumeName'));
  const folder = folderOf(storageClass.path, { namespace, name: CLAIM }, volume);
  const { ok, detail } = await errand(lab, ports, storageClass, 'look', folder);
  return { ok, detail: ok ? `bound; ${folder} is in ${storageClass.export}` : `bound, but ${folder}: ${detail}` };
}

/** Removes claim, folder, volume and namespace, in the order in which an interruption leaves a trace to go on from. */
async function remove(lab: Lab, ports: World, storageClass: StorageClassConfig, namespace: string): Promise<void> {
  await ports.kube.delete([claimRef(namespace)], 60);
  const volumes = (await ports.kube.list('v1', 'PersistentVolume')).filter(
    (volume) => namespaceOf(volume) === namespace,
  );
  for (const volume of volumes.length > 0 ? volumes.map(({ metadata }) => metadata.name) : ['']) {
    const folder = folderOf(storageClass.path, { namespace, name: CLAIM }, volume);
    const { ok, detail } = await errand(lab, ports, storageClass, 'remove', folder);
    if (!ok) throw new Error(`${folder}: ${detail}`);
  }
  await ports.kube.delete(
    volumes.map(({ metadata: { name } }) => ({ apiVersion: 'v1', kind: 'PersistentVolume', name })),
    60,
  );
  await ports.kube.delete([{ apiVersion: 'v1', kind: 'Namespace', name: namespace }], 60);
}

/** Namespaces of proofs of this class that were interrupted; their volumes may be all that is left of them. */
async function leftovers({ kube }: Pick<Ports, 'kube'>, { name }: StorageClassConfig): Promise<string[]> {
  const [namespaces, volumes] = await Promise.all([kube.list('v1', 'Namespace'), kube.list('v1', 'PersistentVolume')]);
  const labelled = namespaces.filter(({ metadata }) => metadata.labels?.[LABEL] === name);
  const ofClass = volumes.filter((volume) => dig(volume, 'spec', 'storageClassName') === name);
  const names = [
    ...labelled.map(({ metadata }) => metadata.name),
    ...ofClass.flatMap((each) => namespaceOf(each) ?? []),
  ];
  return [...new Set(names)].filter((each) => NAMESPACE.test(each));
}

function namespaceOf(volume: KubeObject): string | undefined {
  return textOf(dig(volume, 'spec', 'claimRef', 'namespace'));
}

/** On a server: the export is for K3s nodes. */
async function errand(
  { config }: Lab,
  { ssh }: Pick<Ports, 'ssh'>,
  storageClass: StorageClassConfig,
  kind: 'look' | 'remove',
  name: string,
): Promise<{ ok: boolean; detail: string }> {
  const { nas, export: found } = findExport(config, storageClass.export ?? '');
  const host = servers(config)[0]?.name ?? config.k3s.first_server;
  return judgeFolder(await runErrand(ssh, host, nas, found, { kind, name }));
}

function claimObject(storageClassName: string, namespace: string): KubeObject {
  const { apiVersion, kind, ...metadata } = claimRef(namespace);
  return {
    apiVersion,
    kind,
    metadata,
    spec: { storageClassName, accessModes: ['ReadWriteMany'], resources: { requests: { storage: '1Mi' } } },
  };
}

function claimRef(namespace: string): KubeRef & { namespace: string } {
  return { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name: CLAIM, namespace };
}
