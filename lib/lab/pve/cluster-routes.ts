import type { Identity } from './access.ts';
import type { Cluster } from './cluster.ts';
import { badParameters } from './errors.ts';
import { nodeEntry } from './node-routes.ts';
import type { Call, Route } from './router.ts';
import { status } from './storage-routes.ts';
import type { Vm } from './types.ts';
import { mayAudit, summary } from './vm-routes.ts';

const MAPPING = ['Mapping.Use', 'Mapping.Modify', 'Mapping.Audit'];

export const clusterRoutes: Route[] = [
  { method: 'GET', path: '/version', handle: () => ({ version: '9.0.11', release: '9.0', repoid: 'embedded-lab' }) },
  {
    method: 'GET',
    path: '/cluster/status',
    needs: [{ at: '/', have: ['Sys.Audit'] }],
    handle: ({ cluster }) => [
      { type: 'cluster', id: 'cluster', name: 'lab', nodes: cluster.nodes.length, quorate: 1, version: 1 },
      ...cluster.nodes.map(({ name, address }, i) => ({
        type: 'node',
        id: `node/${name}`,
        name,
        ip: address,
        nodeid: i + 1,
        local: i === 0 ? 1 : 0,
        online: cluster.faults.isDown(name) ? 0 : 1,
      })),
    ],
  },
  { method: 'GET', path: '/cluster/resources', spec: { type: 'resource-type' }, handle: (call) => resources(call) },
  {
    method: 'GET',
    path: '/cluster/nextid',
    spec: { vmid: 'vmid' },
    handle: ({ cluster, params }) => {
      const wanted = params.integer('vmid');
      if (wanted !== undefined && cluster.vms.has(wanted)) throw badParameters({ vmid: `VM ${wanted} already exists` });
      let free = wanted ?? 100;
      while (cluster.vms.has(free)) free += 1;
      return String(free);
    },
  },
  {
    method: 'GET',
    path: '/cluster/mapping/pci',
    spec: { 'check-node': 'string' },
    handle: ({ cluster, who, params }) =>
      mappings(cluster)
        .filter(({ id }) => cluster.access.has(who, `/mapping/pci/${id}`, MAPPING, true))
        .map((mapping) => ({
          ...mapping,
          ...(params.text('check-node') && {
            checks: mapping.map.some((entry) => entry.includes(`node=${params.text('check-node')},`))
              ? []
              : [{ severity: 'warning', message: `No mapping for node ${params.text('check-node')}.` }],
          }),
        })),
  },
  {
    method: 'GET',
    path: '/cluster/mapping/pci/{id}',
    needs: [{ or: MAPPING.map((privilege) => ({ at: '/mapping/pci/{id}', have: [privilege] })) }],
    handle: ({ cluster, path }) => {
      const found = mappings(cluster).find(({ id }) => id === path.id);
      if (!found) throw badParameters({ id: `mapping '${path.id}' not found` });
      return found;
    },
  },
  {
    method: 'GET',
    path: '/pools',
    spec: { poolid: 'string', type: 'string' },
    handle: (call) => pools(call),
  },
  {
    method: 'GET',
    path: '/pools/{poolid}',
    needs: [{ at: '/pool/{poolid}', have: ['Pool.Audit'] }],
    handle: ({ cluster, who, path }) => poolDetail(cluster, who, path.poolid ?? ''),
  },
  {
    method: 'POST',
    path: '/access/ticket',
    spec: { username: 'string!', password: 'string!', realm: 'string', otp: 'string', 'new-format': 'boolean' },
    // Handled before authentication, in server.ts; this entry makes the path exist.
    handle: () => null,
  },
  {
    method: 'GET',
    path: '/access/permissions',
    spec: { path: 'string', userid: 'string' },
    handle: ({ cluster, who, params }) => {
      const path = params.text('path');
      const paths = path === undefined ? cluster.access.paths() : [path];
      if (who.isRoot)
        return Object.fromEntries((path === undefined ? ['/'] : paths).map((p) => [p, { 'Sys.Modify': 1 }]));
      const held = paths.map((p) => [p, [...cluster.access.privileges(p)].sort()] as const);
      return Object.fromEntries(
        held
          .filter(([, names]) => path !== undefined || names.length > 0)
          .map(([p, names]) => [p, Object.fromEntries(names.map((name) => [name, 1]))]),
      );
    },
  },
];

function resources({ cluster, who, params }: Call): unknown[] {
  const type = params.text('type');
  const vms = [...cluster.vms.values()]
    .filter((vm) => mayAudit(cluster, who, vm))
    .map((vm) => vmResource(cluster, who, vm));
  const nodes = cluster.nodes.map((node) => nodeEntry(cluster, who, node));
  const storages = cluster.nodes.flatMap((node) =>
    cluster.volumes
      .storages()
      .filter(({ name }) => cluster.access.has(who, `/storage/${name}`, ['Datastore.Audit']))
      .map(({ name }) => {
        const { total, used, content, shared, type: plugintype } = status(cluster, name, node.name);
        const id = `storage/${node.name}/${name}`;
        const own = { id, type: 'storage', storage: name, node: node.name, status: 'available', content, shared };
        return { ...own, plugintype, maxdisk: total, disk: used };
      }),
  );
  return [
    ...(!type || type === 'vm' ? vms : []),
    ...(!type || type === 'node' ? nodes : []),
    ...(!type || type === 'storage' ? storages : []),
  ];
}

/**
 * Until the next broadcast the others know of a new VM only what its configuration file says: that it exists, its
 * lock (since Proxmox VE 6.0) and its tags.
 */
function vmResource(cluster: Cluster, who: Identity, vm: Vm): unknown {
  const [lock, pool] = [cluster.lockOf(vm), cluster.poolOf(vm.vmid)];
  const own = {
    ...{ id: `qemu/${vm.vmid}`, type: 'qemu', vmid: vm.vmid, node: vm.node },
    ...(lock && { lock }),
    ...(vm.config.tags !== undefined && { tags: vm.config.tags }),
    ...(pool !== undefined && cluster.access.has(who, `/pool/${pool}`, ['Pool.Audit']) && { pool }),
  };
  if (Date.now() < vm.knownFrom) return { ...own, status: 'unknown' };
  const { cpus, ...rest } = summary(cluster, vm);
  return { template: 0, ...rest, ...own, maxcpu: cpus };
}

function mappings(cluster: Cluster): { id: string; description: string; map: string[] }[] {
  const byName = new Map<string, string[]>();
  for (const node of cluster.nodes)
    for (const gpu of node.gpus ?? [])
      byName.set(gpu, [...(byName.get(gpu) ?? []), `node=${node.name},path=0000:01:00.0,id=10de:27b2,iommugroup=14`]);
  return [...byName].map(([id, map]) => ({ id, description: '', map }));
}

function pools({ cluster, who, params }: Call): unknown {
  const poolid = params.text('poolid');
  const may = (pool: string): boolean => cluster.access.has(who, `/pool/${pool}`, ['Pool.Audit']);
  if (poolid === undefined) return [...cluster.pools.keys()].filter(may).map((pool) => ({ poolid: pool }));
  cluster.access.require(who, `/pool/${poolid}`, ['Pool.Audit']);
  return [{ poolid, ...poolDetail(cluster, who, poolid) }];
}

function poolDetail(cluster: Cluster, who: Identity, poolid: string) {
  const members = cluster.pools.get(poolid);
  if (!members) throw badParameters({ poolid: `pool '${poolid}' does not exist` });
  const vms = [...members].flatMap((vmid) => cluster.vms.get(vmid) ?? []);
  return { members: vms.map((vm) => vmResource(cluster, who, vm)) };
}
