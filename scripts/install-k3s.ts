import { k3sOperations } from '../lib/k3s-operations.ts';
import { defineScript } from '../lib/main.ts';
import { observeK3s } from '../lib/observe/k3s.ts';
import { planK3s } from '../lib/plan/k3s.ts';
import { verifyK3s } from '../lib/verify/k3s.ts';

export default defineScript(import.meta.url, {
  name: 'install-k3s',
  summary: 'install K3s on the nodes of homelab.yaml and join them to one cluster',
  description: `Servers one after another, then agents. Run it again after a change of k3s in homelab.yaml: a changed
configuration restarts its node only, a newer version goes through the nodes one at a time.
A kubeconfig for you is left in .state/<lab>/kubeconfig; ~/.kube/config is not touched.`,
  observe: observeK3s,
  plan: planK3s,
  operations: k3sOperations,
  verify: verifyK3s,
});
