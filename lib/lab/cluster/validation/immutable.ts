import { same } from '../api/server-side-apply.ts';
import { type Thing, valueAt } from '../api/thing.ts';

/** Fields that a kind never changes once it is there. */
const FIXED: Record<string, string[]> = {
  Deployment: ['spec.selector'],
  DaemonSet: ['spec.selector'],
  StatefulSet: ['spec.selector', 'spec.serviceName', 'spec.volumeClaimTemplates'],
  Job: ['spec.selector', 'spec.template', 'spec.completions'],
  PersistentVolumeClaim: ['spec.accessModes', 'spec.storageClassName', 'spec.volumeName'],
  PersistentVolume: ['spec.nfs'],
  Secret: ['type'],
  StorageClass: ['parameters', 'provisioner', 'reclaimPolicy', 'volumeBindingMode'],
};

/** What an update may not change, in the API server's words. */
export function unchangeable(live: Thing, next: Thing): string[] {
  const fixed = (FIXED[live.kind] ?? []).flatMap((path) => {
    const before = valueAt(live, path);
    return before === undefined || same(before, valueAt(next, path))
      ? []
      : [`${path}: Invalid value: ${JSON.stringify(valueAt(next, path))}: field is immutable`];
  });
  const [before, after] = [valueAt(live, 'spec.clusterIP'), valueAt(next, 'spec.clusterIP')];
  const moved =
    live.kind === 'Service' && before !== undefined && before !== after
      ? [`spec.clusterIPs[0]: Invalid value: ${JSON.stringify([after])}: may not change once set`]
      : [];
  const frozen =
    live.kind === 'ConfigMap' && live.immutable === true && !same(live.data, next.data)
      ? ['data: Forbidden: field is immutable when `immutable` is set']
      : [];
  return [...fixed, ...moved, ...frozen];
}
