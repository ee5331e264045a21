import { join } from 'node:path';
import { lazily } from '../lib/lazy.ts';
import { defineScript, type Script } from '../lib/main.ts';
import type { NewIngressArgs, NewIngressSeen } from '../lib/plan/new-ingress.ts';

const script: Script<NewIngressSeen, NewIngressArgs> = {
  name: 'new-ingress',
  summary: "Writes an application's ingress: TLS, and HTTP redirected to HTTPS",
  description: [
    'Writes applications/NAME/ingress.yaml. With --apply it is applied too, its certificate waited for, and the page',
    'proven from outside: 301 to HTTPS, then 200 under a certificate for the host.',
    '',
    '  npx tsx scripts/new-ingress.ts my-app --host myapp.codeofficer.com --service my-app --port 8080 --apply',
  ].join('\n'),
  arguments: [{ name: '<name>', description: 'of the application: its folder, its Ingress, its secret NAME-tls' }],
  options: [
    { flags: '--host <host>', description: 'DNS name that it answers to', required: true },
    { flags: '--service <service>', description: 'Service behind it', required: true },
    { flags: '--port <port>', description: "the Service's port, by its number", required: true },
    { flags: '--namespace <namespace>', description: 'of the Service (default: NAME)' },
    { flags: '--apply', description: 'apply it, and prove it from outside', default: false },
    { flags: '--force', description: 'overwrite an ingress.yaml that was edited by hand', default: false },
    { flags: '--probe <path>', description: 'path that answers 200, for the proof', default: '/' },
  ],
  ...lazily<NewIngressSeen, NewIngressArgs>({
    observe: async () => (await import('../lib/observe/new-ingress.ts')).observeNewIngress,
    plan: async () => (await import('../lib/plan/new-ingress.ts')).planNewIngress,
    verify: async () => (await import('../lib/verify/new-ingress.ts')).verifyNewIngress,
    report: async () => {
      const { ingressFile, readCall } = await import('../lib/plan/new-ingress.ts');
      const { ingressYaml } = await import('../lib/render/ingress.ts');
      return ({ config, paths }, _seen, args) => {
        const call = readCall(args);
        const content = ingressYaml(call, config.ingress);
        const file = join(paths.applications, ingressFile(call.name));
        return { text: content.trimEnd(), data: { file, content } };
      };
    },
  }),
};

export default defineScript(import.meta.url, script);
