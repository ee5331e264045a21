import { lazily } from '../lib/lazy.ts';
import { defineScript } from '../lib/main.ts';
import type { UninstallArgs, UninstallSeen } from '../lib/plan/uninstall-k3s.ts';

export default defineScript(import.meta.url, {
  name: 'uninstall-k3s',
  summary: 'Takes K3s off every node, with everything that the cluster holds; the VMs stay',
  description: `K3s's own uninstall script, then what it leaves, and what the toolkit put there for K3s. What others put there
stays, as do snapshots and volumes on the NAS. One node of a cluster that lives goes by remove-node.`,
  ...lazily<UninstallSeen, UninstallArgs>({
    observe: async () => (await import('../lib/observe/uninstall-k3s.ts')).observeUninstall,
    plan: async () => (await import('../lib/plan/uninstall-k3s.ts')).planUninstall,
    operations: async () => (await import('../lib/operations/uninstall-k3s.ts')).uninstallOperations,
    verify: async () => {
      const { verifyUninstalled } = await import('../lib/verify/uninstall-k3s.ts');
      return (lab, ports, args, _context, seen) => verifyUninstalled(lab, ports, args, seen);
    },
  }),
});
