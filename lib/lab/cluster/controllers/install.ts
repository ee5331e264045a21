import { withDefaults } from '../api/defaults.ts';
import type { Thing } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';

/** Puts an object as K3s or helm does, with the defaults of the API server and what others set kept. */
export function installObject(cluster: Cluster, object: Thing, manager = 'k3s'): Thing {
  const { store, api } = cluster;
  const { name, namespace, labels, annotations } = object.metadata;
  const live = store.get(object.apiVersion, object.kind, name, namespace);
  const spec =
    typeof object.spec === 'object' && live ? { ...pick(live.spec, ['clusterIP']), ...object.spec } : object.spec;
  const merged = {
    ...object,
    ...(spec === undefined ? {} : { spec }),
    ...(live?.status === undefined ? {} : { status: live.status }),
    metadata: {
      ...object.metadata,
      ...(live?.metadata.labels || labels ? { labels: { ...live?.metadata.labels, ...labels } } : {}),
      ...(live?.metadata.annotations || annotations
        ? { annotations: { ...live?.metadata.annotations, ...annotations } }
        : {}),
    },
  };
  return store.put(withDefaults(merged, store, api.serviceCidr), manager);
}

function pick(from: unknown, keys: string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(from ?? {}).filter(([key]) => keys.includes(key)));
}
