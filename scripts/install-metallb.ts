import { defineScript } from '../lib/main.ts';
import { observeMetallb } from '../lib/observe/metallb.ts';
import { planMetallb } from '../lib/plan/metallb.ts';
import { verifyMetallb } from '../lib/verify/metallb.ts';

export default defineScript(import.meta.url, {
  name: 'install-metallb',
  summary: 'install MetalLB with the pool of homelab.yaml, and prove that a LoadBalancer answers',
  description: `For the proof a small web server runs for a moment in a namespace of its own, homelab-proof-metallb.`,
  observe: observeMetallb,
  plan: planMetallb,
  verify: verifyMetallb,
});
