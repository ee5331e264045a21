import { lazily } from '../lib/lazy.ts';
import { defineScript } from '../lib/main.ts';
import type { KubeconfigArgs, KubeconfigSeen } from '../lib/plan/kubeconfig.ts';

export default defineScript(import.meta.url, {
  name: 'kubeconfig',
  summary: 'Puts the lab’s cluster, user and context into your kubeconfig, and touches nothing else in it',
  description: `install-k3s leaves a kubeconfig in .state/<lab>/kubeconfig. This merges it into the first file of $KUBECONFIG, or
~/.kube/config: other entries, comments and their order stay; a link is followed, the file is private (0600).`,
  options: [
    { flags: '--into <file>', description: 'another file than yours' },
    {
      flags: '--use',
      description: 'make it the current context (it becomes that anyway where none is set)',
      default: false,
    },
    {
      flags: '--force',
      description: 'although entries by the lab’s name are there that are another’s',
      default: false,
    },
  ],
  ...lazily<KubeconfigSeen, KubeconfigArgs>({
    observe: async () => (await import('../lib/observe/kubeconfig.ts')).observeKubeconfigs,
    plan: async () => (await import('../lib/plan/kubeconfig.ts')).planKubeconfig,
    operations: async () => (await import('../lib/operations/kubeconfig.ts')).kubeconfigOperations,
    verify: async () => {
      const { verifyKubeconfig } = await import('../lib/verify/kubeconfig.ts');
      return (lab, ports, _args, _context, seen) => verifyKubeconfig(lab, ports, seen);
    },
  }),
});
