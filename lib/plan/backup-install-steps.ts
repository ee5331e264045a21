import { findObject, refOf, titleOf } from '../kube-object.ts';
import { dig, textOf } from '../loose.ts';
import type { KubeObject, Step, Value } from '../step.ts';
import type { BackupObjects } from './backup-install-seen.ts';
import { needsApply } from './differences.ts';

/** Steps of which the plans of `backup-postgres install` are made. */

const APPLY_SECONDS = 60;

/** A volume whose claim was deleted is bound to nobody, and to no other claim: it is made anew. What is on the NAS stays. */
export function volumeSteps(objects: KubeObject[], { objects: all }: BackupObjects, before: string[]): Step[] {
  const [volume, claim] = objects.map((object) => findObject(all, refOf(object)));
  const why = objects.flatMap((object) => needsApply(object, findObject(all, refOf(object))) ?? [])[0];
  const released = /^(Released|Failed)$/.test(textOf(dig(volume, 'status', 'phase')) ?? '');
  const lost = dig(claim, 'status', 'phase') === 'Lost';
  if (!why && !released && !lost) return [];
  const name = objects[0]?.metadata.name ?? '';
  const stale = released || lost ? [volume, claim].filter((object) => object !== undefined) : [];
  const removal = stale.map((object) => deleteStep(object, lost ? 'its volume was deleted' : 'its claim was', before));
  const last = [...before, ...removal.map(({ id }) => id)];
  return [...removal, applyStep(`volume/${name}`, objects, why ?? 'it is bound to nobody', last)];
}

export function applyStep(
  id: string,
  objects: KubeObject[],
  why: string,
  before: string[],
  secrets: Record<string, Value> = {},
): Step {
  return {
    id,
    title: `apply ${objects.map(titleOf).join(', ')}`,
    why,
    after: before,
    action: {
      ...{ kind: 'kube', verb: 'apply', objects, deadline: APPLY_SECONDS },
      ...(Object.keys(secrets).length > 0 ? { secrets } : {}),
    },
  };
}

export function deleteStep(object: KubeObject, why: string, before: string[]): Step {
  return {
    id: removalId(object),
    title: `delete ${titleOf(object)}`,
    why,
    after: before,
    // Its name only: a ConfigMap holds the whole engine.
    action: { kind: 'kube', verb: 'delete', objects: [nameOnly(object)], deadline: 120 },
  };
}

function nameOnly({ apiVersion, kind, metadata: { name, namespace } }: KubeObject): KubeObject {
  return { apiVersion, kind, metadata: { name, ...(namespace && { namespace }) } };
}

export function removalId({ kind, metadata }: KubeObject): string {
  return `old/${kind}/${metadata.name}`;
}

/** What is done before. */
export function after(steps: readonly Step[]): string[] {
  return steps.map(({ id }) => id);
}
