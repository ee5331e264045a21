import { same } from '../api/server-side-apply.ts';
import { type Thing, valueAt } from '../api/thing.ts';

/** Fields that a kind never changes once it is there. */
const FIXED: Record<string, string[]> = {
  Deployment: ['spec.selector'],
  DaemonSet: ['spec.selector'],
  StatefulSet: ['spec.selector', 'spec.serviceName', 'spec.volumeClaimTemplates'],
  Job: ['spec.selector', 'spec.template', 'spec.completions'],
  Service: ['spec.clusterIP'],
  PersistentVolumeClaim: ['spec.accessModes', 'spec.storageClassName', 'spec.volumeName'],
  Secret: ['type'],
};

/** In a StorageClass these have words of their own. */
const FORBIDDEN: Record<string, [string, string][]> = {
  StorageClass: [
    ['parameters', 'parameters: Forbidden: updates to parameters are forbidden.'],
    ['provisioner', 'provisioner: Forbidden: updates to provisioner are forbidden.'],
    ['reclaimPolicy', 'reclaimPolicy: Forbidden: updates to reclaimPolicy are forbidden.'],
    ['volumeBindingMode', 'volumeBindingMode: Invalid value: field is immutable'],
  ],
};

/** What an update may not change, in the API server's words. */
export function unchangeable(live: Thing, next: Thing): string[] {
  const fixed = (FIXED[live.kind] ?? []).flatMap((path) => {
    const before = valueAt(live, path);
    return before === undefined || same(before, valueAt(next, path))
      ? []
      : [`${path}: Invalid value: ${JSON.stringify(valueAt(next, path))}: field is immutable`];
  });
  const forbidden = (FORBIDDEN[live.kind] ?? []).flatMap(([path, words]) =>
    same(valueAt(live, path), valueAt(next, path)) ? [] : [words],
  );
  return [...fixed, ...forbidden];
}
