import { lazily } from '../lib/lazy.ts';
import { defineScript } from '../lib/main.ts';

export default defineScript(import.meta.url, {
  name: 'install-k3s',
  summary: 'Installs K3s on the nodes of homelab.yaml, and joins them to one cluster',
  description: `Servers one after another, then agents. Run it again after a change of k3s in homelab.yaml: a changed
configuration restarts its node only, a newer version goes through the nodes one at a time, each drained before.
What would take etcd's majority is refused, with the arithmetic. A node that does not come up is diagnosed.
A kubeconfig for you is left in .state/<lab>/kubeconfig; ~/.kube/config is not touched.`,
  ...lazily({
    observe: async () => (await import('../lib/observe/k3s.ts')).observeK3s,
    plan: async () => (await import('../lib/plan/k3s.ts')).planK3s,
    operations: async () => (await import('../lib/operations/k3s.ts')).k3sOperations,
    explain: async () => (await import('../lib/plan/k3s-explain.ts')).explainK3s,
    verify: async () => (await import('../lib/verify/k3s.ts')).verifyK3s,
  }),
});
