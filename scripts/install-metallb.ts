import { lazily } from '../lib/lazy.ts';
import { defineScript } from '../lib/main.ts';

export default defineScript(import.meta.url, {
  name: 'install-metallb',
  summary: 'Installs MetalLB with the pool of homelab.yaml, and proves that a LoadBalancer answers',
  description: `For the proof a small web server runs for a moment in a namespace of its own, homelab-proof-metallb.`,
  ...lazily({
    observe: async () => (await import('../lib/observe/metallb.ts')).observeMetallb,
    plan: async () => (await import('../lib/plan/metallb.ts')).planMetallb,
    verify: async () => (await import('../lib/verify/metallb.ts')).verifyMetallb,
  }),
});
