import { defineScript, type Script } from '../lib/main.ts';
import { observeIngress } from '../lib/observe/ingress.ts';
import { CLOUDFLARE_TOKEN, type IngressSeen, planIngress } from '../lib/plan/ingress.ts';
import { verifyIngress } from '../lib/verify/ingress.ts';

const script: Script<IngressSeen> = {
  name: 'setup-ingress',
  summary: 'Installs cert-manager with its issuers, and the redirect to HTTPS',
  description: [
    "cert-manager proves names to Let's Encrypt by DNS-01, with Cloudflare's token from .env, so that nothing of the",
    'lab need be reachable from the internet. Run it after install-metallb, and again when the token has changed.',
  ].join('\n'),
  secrets: () => [CLOUDFLARE_TOKEN],
  observe: observeIngress,
  plan: planIngress,
  verify: verifyIngress,
};

export default defineScript(import.meta.url, script);
