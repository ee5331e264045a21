import { lazily } from '../lib/lazy.ts';
import { defineScript } from '../lib/main.ts';
import type { RemovalArgs, RemovalSeen } from '../lib/plan/remove-node.ts';

export default defineScript(import.meta.url, {
  name: 'remove-node',
  summary: 'Takes a node out of the cluster for good, alive or dead',
  description: `Drains it, deletes its Node (and with it its password and its member of etcd), uninstalls K3s on its machine where
that answers, and gives its lease back when homelab.yaml does not have it any more. The survivors of etcd are counted
first, and the last server is never removed. The VM stays: provision destroys it once it is out of homelab.yaml.
A node of the same name can join again afterwards: provision, install-k3s.`,
  arguments: [{ name: '<name>', description: 'a node of the cluster, in homelab.yaml or not' }],
  options: [
    {
      flags: '--skip-drain',
      description: 'do not wait for its pods to end: they are deleted with it',
      default: false,
    },
  ],
  ...lazily<RemovalSeen, RemovalArgs>({
    observe: async () => (await import('../lib/observe/remove-node.ts')).observeRemoval,
    plan: async () => (await import('../lib/plan/remove-node.ts')).planRemoval,
    operations: async () => (await import('../lib/operations/remove-node.ts')).removalOperations,
    verify: async () => {
      const { verifyRemoved } = await import('../lib/verify/remove-node.ts');
      return (lab, ports, args, _context, seen) => verifyRemoved(lab, ports, args, seen);
    },
  }),
});
