import type { Identity } from './access.ts';
import type { Cluster } from './cluster.ts';
import { badParameters } from './errors.ts';
import type { Call, Route } from './router.ts';
import type { Task } from './tasks.ts';
import type { NodeSpec } from './types.ts';

const GIB = 2 ** 30;

export const nodeRoutes: Route[] = [
  {
    method: 'GET',
    path: '/nodes',
    handle: ({ cluster, who }) => cluster.nodes.map((node) => nodeEntry(cluster, who, node)),
  },
  {
    method: 'GET',
    path: '/nodes/{node}/status',
    needs: [{ at: '/nodes/{node}', have: ['Sys.Audit'] }],
    handle: ({ cluster, path }) => {
      const node = cluster.node(path.node ?? '');
      const { maxmem, mem, maxcpu } = nodeSummary(cluster, node);
      return {
        memory: { total: maxmem, used: mem, free: maxmem - mem, available: maxmem - mem },
        swap: { total: 0, used: 0, free: 0 },
        rootfs: { total: 100 * GIB, used: 10 * GIB, free: 90 * GIB, avail: 90 * GIB },
        cpuinfo: { cpus: maxcpu, cores: maxcpu, sockets: 1, model: 'embedded lab' },
        loadavg: ['0.00', '0.00', '0.00'],
        uptime: 86_400,
        pveversion: 'pve-manager/9.0.11/embedded-lab',
        kversion: 'Linux 6.14.11-4-pve',
      };
    },
  },
  {
    method: 'GET',
    path: '/nodes/{node}/version',
    handle: () => ({ version: '9.0.11', release: '9.0', repoid: 'embedded-lab' }),
  },
  {
    method: 'GET',
    path: '/nodes/{node}/network',
    spec: { type: 'string' },
    handle: ({ cluster }) => [{ iface: cluster.bridge, type: 'bridge', active: 1, autostart: 1, bridge_vlan_aware: 1 }],
  },
  {
    method: 'GET',
    path: '/nodes/{node}/tasks',
    spec: { vmid: 'vmid', typefilter: 'string', limit: 'integer', source: 'string', errors: 'boolean' },
    handle: ({ cluster, path, params, who }) =>
      cluster.tasks
        .list(path.node ?? '')
        .filter((task) => task.user === who.id || cluster.access.has(who, `/nodes/${task.node}`, ['Sys.Audit']))
        .filter(({ type }) => !cluster.faults.isUnknown(type))
        .filter((task) => params.text('vmid') === undefined || task.id === params.text('vmid'))
        .filter((task) => params.text('typefilter') === undefined || task.type === params.text('typefilter'))
        .slice(0, params.integer('limit') ?? 50)
        .map((task) => ({
          ...identity(task),
          ...(task.exitstatus && { endtime: task.endtime, status: task.exitstatus }),
        })),
  },
  {
    method: 'GET',
    path: '/nodes/{node}/tasks/{upid}/status',
    handle: (call) => {
      const task = taskOf(call);
      const { exitstatus } = task;
      return { ...identity(task), status: exitstatus ? 'stopped' : 'running', ...(exitstatus && { exitstatus }) };
    },
  },
  {
    method: 'GET',
    path: '/nodes/{node}/tasks/{upid}/log',
    spec: { start: 'integer', limit: 'integer', download: 'boolean' },
    handle: (call) => {
      const { params } = call;
      const task = taskOf(call);
      const start = params.integer('start') ?? 0;
      const lines = task.log.map((t, i) => ({ n: i + 1, t }));
      return lines.slice(start, start + (params.integer('limit') || 50));
    },
  },
];

/** One's own task, or anybody's for who may look at the node. */
function taskOf({ cluster, path, who }: Call): Task {
  const task = cluster.tasks.find(path.node ?? '', path.upid ?? '');
  if (cluster.faults.isUnknown(task.type)) throw badParameters({ upid: 'no such task' });
  if (task.user !== who.id) cluster.access.require(who, `/nodes/${task.node}`, ['Sys.Audit']);
  return task;
}

function identity({ upid, node, pid, pstart, starttime, type, id, user }: Task) {
  const [name = user, tokenid] = user.split('!');
  return { upid, node, pid, pstart, starttime, type, id, user: name, ...(tokenid && { tokenid }) };
}

/** A node in a list: without Sys.Audit only that it exists, and whether it answers. */
export function nodeEntry(cluster: Cluster, who: Identity, node: NodeSpec) {
  const whole = nodeSummary(cluster, node);
  if (cluster.access.has(who, `/nodes/${node.name}`, ['Sys.Audit'])) return whole;
  const { node: name, id, type, status, level } = whole;
  return { node: name, id, type, status, level };
}

function nodeSummary(cluster: Cluster, node: NodeSpec) {
  const maxmem = node.memoryBytes ?? 128 * GIB;
  const mem = [...cluster.vms.values()]
    .filter((vm) => vm.node === node.name && vm.running)
    .reduce((sum, vm) => sum + Number(vm.config.memory ?? 512) * 2 ** 20, 2 * GIB);
  return {
    node: node.name,
    id: `node/${node.name}`,
    type: 'node',
    status: cluster.faults.isDown(node.name) ? 'offline' : 'online',
    maxcpu: node.cores ?? 32,
    cpu: 0,
    maxmem,
    mem,
    maxdisk: 100 * GIB,
    disk: 10 * GIB,
    uptime: 86_400,
    level: '',
  };
}
