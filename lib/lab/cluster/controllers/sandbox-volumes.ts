import { existsSync, mkdirSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseQuantity } from '../../../plan/quantity.ts';
import { isRecord, itemsAt, type Thing, textAt, textsAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { nfsVolumes } from './volumes.ts';

/** A folder for each volume, by its name. */
export type Volumes = Map<string, { folder: string; limit?: number }>;

/** Makes them: what a kubelet mounts before it starts a pod. */
export function layOut(cluster: Cluster, pod: Thing, client: string, root: string): Volumes {
  const nfs = nfsVolumes(cluster, pod);
  return new Map(
    itemsAt(pod, 'spec.volumes').map((volume, i) => {
      const name = textAt(volume, 'name');
      const exported = nfs.find((one) => one.name === name);
      const answer = exported && cluster.options.provisionNfs?.(exported.server, exported.share, '', client);
      if (answer?.ok) return [name, { folder: answer.folder }];
      const folder = join(root, `v${i}`);
      mkdirSync(folder);
      for (const [file, text] of filesOf(cluster, pod, volume))
        writeFileSync(join(folder, file), text, { mode: 0o440 });
      const size = textAt(volume, 'emptyDir.sizeLimit');
      return [name, { folder, ...(size ? { limit: parseQuantity(size) } : {}) }];
    }),
  );
}

function filesOf(cluster: Cluster, pod: Thing, volume: unknown): [name: string, text: string | Buffer][] {
  const { store } = cluster;
  const { namespace } = pod.metadata;
  const map = store.get('v1', 'ConfigMap', textAt(volume, 'configMap.name'), namespace);
  const secret = store.get('v1', 'Secret', textAt(volume, 'secret.secretName'), namespace);
  return [
    ...Object.entries(textsAt(map, 'data')).map(([name, text]): [string, string] => [
      name,
      name.endsWith('.json') ? resolved(text, cluster) : text,
    ]),
    ...Object.entries(textsAt(secret, 'data')).map(([name, text]): [string, Buffer] => [
      name,
      Buffer.from(text, 'base64'),
    ]),
  ];
}

/** What the cluster's DNS and its Services do: `{"host": "a.b.svc", "port": 5432}` is where the backend listens. */
function resolved(text: string, cluster: Cluster): string {
  return JSON.stringify(JSON.parse(text), (_, value: unknown) => {
    if (!isRecord(value) || typeof value.host !== 'string') return value;
    const [, name = '', namespace = ''] = /^([a-z0-9-]+)\.([a-z0-9-]+)\.svc$/.exec(value.host) ?? [];
    const service = cluster.store.get('v1', 'Service', name, namespace);
    const backend = cluster.backends.get(`${namespace}/${name}`);
    const served = itemsAt(service, 'spec.ports').some(({ port }) => port === value.port);
    return backend && served ? { ...value, ...backend } : value;
  });
}

/** What evicts a pod: an emptyDir that holds more than it may. */
export function overfull(volumes: Volumes): string | undefined {
  for (const [name, { folder, limit }] of volumes)
    if (limit !== undefined && usage(folder) > limit)
      return `Usage of EmptyDir volume "${name}" exceeds the limit of ${limit} bytes.`;
  return undefined;
}

function usage(folder: string): number {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).reduce((sum, name) => {
    const path = join(folder, name);
    return existsSync(path) ? sum + statSync(path).size : sum;
  }, 0);
}
