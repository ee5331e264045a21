import { lazily } from '../lib/lazy.ts';
import { defineScript, type Script } from '../lib/main.ts';
import type { IngressSeen } from '../lib/plan/ingress.ts';

const script: Script<IngressSeen> = {
  name: 'setup-ingress',
  summary: 'Installs cert-manager with its issuers, and the redirect to HTTPS',
  description: [
    "cert-manager proves names to Let's Encrypt by DNS-01, with Cloudflare's token from .env, so that nothing of the",
    'lab need be reachable from the internet. Run it after install-metallb, and again when the token has changed.',
  ].join('\n'),
  secrets: () => ['CLOUDFLARE_API_TOKEN'],
  ...lazily({
    observe: async () => (await import('../lib/observe/ingress.ts')).observeIngress,
    plan: async () => (await import('../lib/plan/ingress.ts')).planIngress,
    verify: async () => (await import('../lib/verify/ingress.ts')).verifyIngress,
  }),
};

export default defineScript(import.meta.url, script);
