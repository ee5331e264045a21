import { dig, mapsIn, textOf } from '../loose.ts';
import { folderOf } from '../render/nfs.ts';
import type { KubeObject } from '../step.ts';

export type Claim = { namespace: string; name: string };

/**
 * Claims that share a folder: with `{namespace}-{pvc-name}` the claims `a`/`b-c` and `a-b`/`c` both get `a-b-c`.
 * @returns a group for each folder that more than one claim has
 */
export function collisions<C extends Claim>(path: string, claims: readonly C[]): { folder: string; claims: C[] }[] {
  if (path.includes('{pv-name}')) return []; // a volume's name is unique
  const byFolder = new Map<string, C[]>();
  for (const claim of claims) {
    const folder = folderOf(path, claim);
    byFolder.set(folder, [...(byFolder.get(folder) ?? []), claim]);
  }
  return [...byFolder].filter(([, group]) => group.length > 1).map(([folder, group]) => ({ folder, claims: group }));
}

/** Claims of a StorageClass that objects are or make: a StatefulSet has one for each template and pod. */
export function claimsOf(objects: readonly KubeObject[], storageClass: string): Claim[] {
  const isOf = (spec: unknown): boolean => dig(spec, 'storageClassName') === storageClass;
  return objects.flatMap(({ kind, metadata: { name, namespace = 'default' }, spec }) => {
    if (kind === 'PersistentVolumeClaim') return isOf(spec) ? [{ namespace, name }] : [];
    if (kind !== 'StatefulSet') return [];
    const pods = Array.from({ length: Number(dig(spec, 'replicas') ?? 1) }, (_, i) => `${name}-${i}`);
    const templates = mapsIn(dig(spec, 'volumeClaimTemplates')).filter((template) => isOf(template.spec));
    return templates.flatMap((template) =>
      pods.map((pod) => ({ namespace, name: `${textOf(dig(template, 'metadata', 'name'))}-${pod}` })),
    );
  });
}
