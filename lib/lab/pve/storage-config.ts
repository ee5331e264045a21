import type { Cluster } from './cluster.ts';
import { badParameters } from './errors.ts';
import type { Params, Spec } from './params.ts';
import type { Need, Route } from './router.ts';
import { visible } from './storage-access.ts';
import type { StorageSpec } from './types.ts';

const CHANGES: Spec = {
  content: 'string',
  options: 'string',
  nodes: 'string',
  disable: 'boolean',
  'prune-backups': 'string',
};
/** What is configured belongs to the cluster: a privilege on the storage alone is enough to look, not to change. */
const ALLOCATE: Need[] = [{ at: '/storage', have: ['Datastore.Allocate'] }];

/** /storage: which storages the cluster knows. Only NFS can be added: it is all that the toolkit adds. */
export const storageConfigRoutes: Route[] = [
  {
    method: 'GET',
    path: '/storage',
    spec: { type: 'string' },
    handle: ({ cluster, who, params }) =>
      visible(cluster, who)
        .map((spec) => shown(cluster, spec))
        .filter(({ type }) => type === (params.text('type') ?? type)),
  },
  {
    method: 'GET',
    path: '/storage/{storage}',
    needs: [{ at: '/storage/{storage}', have: ['Datastore.Allocate'] }],
    handle: ({ cluster, path }) => shown(cluster, cluster.volumes.storage(path.storage ?? '')),
  },
  {
    method: 'POST',
    path: '/storage',
    needs: ALLOCATE,
    spec: { ...CHANGES, storage: 'storage-id!', type: 'string!', server: 'string', export: 'string' },
    handle: ({ cluster, params }) => {
      const [name, type] = [params.need('storage'), params.need('type')];
      if (type !== 'nfs') throw badParameters({ type: `storage type '${type}' is not part of this lab` });
      for (const field of ['server', 'export'])
        if (!params.text(field)) throw badParameters({ [field]: 'property is missing and it is not optional' });
      const where = { server: params.need('server'), export: params.need('export') };
      cluster.volumes.define({ name, type, shared: true, content: ['images'], ...where, ...changes(params) });
      return { storage: name, type };
    },
  },
  {
    method: 'PUT',
    path: '/storage/{storage}',
    needs: ALLOCATE,
    spec: { ...CHANGES, delete: 'string', digest: 'string' },
    handle: ({ cluster, params, path }) => {
      const { name } = cluster.volumes.storage(path.storage ?? '');
      cluster.volumes.change(name, changes(params));
      return { storage: name, type: cluster.volumes.typeOf(cluster.volumes.storage(name)) };
    },
  },
  {
    method: 'DELETE',
    path: '/storage/{storage}',
    needs: ALLOCATE,
    handle: ({ cluster, path }) => {
      cluster.volumes.undefine(path.storage ?? '');
      return null;
    },
  },
];

function changes(params: Params): Partial<StorageSpec> {
  const [content, options] = [params.text('content'), params.text('options')];
  return { ...(content !== undefined && { content: content.split(',') }), ...(options !== undefined && { options }) };
}

function shown(cluster: Cluster, spec: StorageSpec) {
  const { name, content, shared, server, options } = spec;
  return {
    storage: name,
    type: cluster.volumes.typeOf(spec),
    content: content.join(','),
    shared: shared ? 1 : 0,
    ...(server !== undefined && { server, export: spec.export, path: `/mnt/pve/${name}` }),
    ...(options !== undefined && { options }),
    digest: '0000000000000000000000000000000000000000',
  };
}
