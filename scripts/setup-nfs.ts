import { lazily } from '../lib/lazy.ts';
import { type Args, defineScript, type Script } from '../lib/main.ts';
import type { NfsSeen } from '../lib/plan/nfs-seen.ts';
import { noSteps } from '../lib/step.ts';

type NfsArgs = Args & { settings: boolean };

const script: Script<NfsSeen | undefined, NfsArgs> = {
  name: 'setup-nfs',
  summary: 'Sets exports, the Proxmox storages and the StorageClasses on them, and proves who can mount what',
  description: [
    'Exports of a Linux NAS are set over SSH; what to enter at a Synology or UniFi NAS is said. Then each export is',
    'mounted from every K3s and Proxmox node: who may must be able to write, who may not must be refused.',
  ].join('\n'),
  options: [
    {
      flags: '--settings',
      description: 'print what to enter at NAS whose exports no script can set, and nothing else',
      default: false,
    },
  ],
  secrets: (_config, { settings }) => (settings ? [] : ['PROXMOX_TOKEN_SECRET']),
  ...lazily<NfsSeen | undefined, NfsArgs>({
    observe: async () => {
      const { observeNfs } = await import('../lib/observe/nfs.ts');
      return async (lab, readers, { settings }) => (settings ? undefined : observeNfs(lab, readers));
    },
    plan: async () => {
      const { planNfs } = await import('../lib/plan/nfs.ts');
      return (lab, seen) => (seen ? planNfs(lab, seen) : noSteps);
    },
    explain: async () => (await import('../lib/plan/nfs-trouble.ts')).explainNfs,
    verify: async () => {
      const { verifyNfs } = await import('../lib/verify/nfs.ts');
      return async (lab, ports, args, context) => (args.settings ? [] : verifyNfs(lab, ports, args, context));
    },
    report: async () => {
      const { setByHand } = await import('../lib/plan/nfs-exports.ts');
      const { settingsText } = await import('../lib/render/nas-settings.ts');
      return (lab, seen) => {
        if (seen) return undefined;
        const data = setByHand(lab).map(({ nas, allowed }) => ({ nas: nas.name, exports: allowed }));
        return { text: settingsText(setByHand(lab)) || 'every NAS is set by setup-nfs', data };
      };
    },
  }),
};

export default defineScript(import.meta.url, script);
