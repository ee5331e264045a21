import { meet } from '../conditions.ts';
import { lastSeen } from '../deadline.ts';
import { HomelabError, messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { findExport, servers } from '../lookup.ts';
import { dig, textOf } from '../loose.ts';
import type { KubeRef, Ports } from '../ports/types.ts';
import { folderOf, type StorageClassConfig } from '../render/nfs.ts';
import { CLAIM, claimObject, podObject, podRef } from '../render/nfs-claim.ts';
import type { Errand } from '../render/nfs-errand.ts';
import { type Judgement, judgeFolder } from '../render/nfs-judge.ts';
import type { KubeObject, Proof } from '../step.ts';
import { proofName, runErrand } from './nfs-mounts.ts';

const LABEL = 'homelab/proof';
const NAMESPACE = /^homelab-proof-[0-9a-f]{8}$/;
/** Seconds. A pod's image has to be pulled first. */
const BOUND_WITHIN = 120;
const WRITTEN_WITHIN = 180;

type World = Pick<Ports, 'kube' | 'ssh' | 'clock'>;

/**
 * A throw-away claim of a StorageClass binds, a pod writes into it, and what it wrote is in the export, in the folder
 * that homelab.yaml names. Everything is removed again, also what an interrupted run left: the class retains
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
    const cause = error instanceof HomelabError && error.likelyCause ? `; ${error.likelyCause}` : '';
    proofs.push({ claim, ok: false, detail: `${messageOf(error)}${cause}${await warned(ports, namespace)}` });
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
  const { kube } = ports;
  const text = proofName();
  const image = helperImage(await kube.get(LOCAL_PATH));
  await kube.apply([
    { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace, labels: { [LABEL]: storageClass.name } } },
  ]);
  await kube.apply([claimObject(storageClass.name, namespace), podObject(namespace, text, image)]);
  await meet({ kube: claimRef(namespace), path: 'status.phase', equals: 'Bound' }, BOUND_WITHIN, ports);
  const written = await podEnds(ports, namespace);
  if (written !== undefined)
    return { ok: false, detail: `bound, but no pod can write into it: ${written}${await warned(ports, namespace)}` };
  const volume = textOf(dig(await kube.get(claimRef(namespace)), 'spec', 'volumeName'));
  const folder = folderOf(storageClass.path, { namespace, name: CLAIM }, volume);
  const { ok, detail } = await errand(lab, ports, storageClass, { kind: 'look', name: folder, text });
  return {
    ok,
    detail: ok
      ? `bound; what a pod wrote is in ${folder} of ${storageClass.export}`
      : `bound, but ${folder}: ${detail}`,
  };
}

/** Why the pod did not end well; undefined when it did. */
async function podEnds({ kube, clock }: World, namespace: string): Promise<string | undefined> {
  const look = async (): Promise<string> => String(dig(await kube.get(podRef(namespace)), 'status', 'phase'));
  const phase = await lastSeen(WRITTEN_WITHIN, look, (seen) => /^(Succeeded|Failed)$/.test(seen), { clock });
  if (phase === 'Succeeded') return undefined;
  if (phase !== 'Failed') return `it is ${phase} after ${WRITTEN_WITHIN} s`;
  const log = await kube.logs(namespace, `pod/${podRef(namespace).name}`, 5).catch(messageOf);
  return ['it failed', log.trim()].filter(Boolean).join(': ');
}

/** What the driver and the kubelet warn of in a namespace: "; mount failed: …". */
async function warned({ kube }: World, namespace: string): Promise<string> {
  const events = await kube.list('v1', 'Event', namespace).catch((): KubeObject[] => []);
  // A pod is not scheduled while its claim is not bound: what that says is no news.
  const words = events.flatMap(({ type, message }) =>
    type === 'Warning' && !/unbound immediate/.test(String(message)) ? [String(message).replaceAll(/\s+/g, ' ')] : [],
  );
  return words.length > 0 ? `; ${words.at(-1)}` : '';
}

/** K3s's own small image: it is on the nodes, or among the images of an air-gapped lab. */
const LOCAL_PATH = { apiVersion: 'v1', kind: 'ConfigMap', name: 'local-path-config', namespace: 'kube-system' };

function helperImage(config: KubeObject | undefined): string | undefined {
  return /image:\s*"?([^\s"]+)/.exec(String(dig(config, 'data', 'helperPod.yaml')))?.[1];
}

/** Removes pod, claim, folder, volume and namespace, in the order in which an interruption leaves a trace to go on from. */
async function remove(lab: Lab, ports: World, storageClass: StorageClassConfig, namespace: string): Promise<void> {
  await ports.kube.delete([podRef(namespace), claimRef(namespace)], 60);
  const volumes = (await ports.kube.list('v1', 'PersistentVolume')).filter(
    (volume) => namespaceOf(volume) === namespace,
  );
  for (const volume of volumes.length > 0 ? volumes.map(({ metadata }) => metadata.name) : ['']) {
    const folder = folderOf(storageClass.path, { namespace, name: CLAIM }, volume);
    const { ok, detail } = await errand(lab, ports, storageClass, { kind: 'remove', name: folder });
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
  wanted: Errand,
): Promise<Judgement> {
  const { nas, export: found } = findExport(config, storageClass.export ?? '');
  const host = servers(config)[0]?.name ?? config.k3s.first_server;
  return judgeFolder(await runErrand(ssh, host, nas, found, wanted));
}

function claimRef(namespace: string): KubeRef & { namespace: string } {
  return { apiVersion: 'v1', kind: 'PersistentVolumeClaim', name: CLAIM, namespace };
}
