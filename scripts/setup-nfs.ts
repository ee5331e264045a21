import { lazily } from '../lib/lazy.ts';
import { defineScript, type Script } from '../lib/main.ts';
import type { NfsSeen } from '../lib/plan/nfs-seen.ts';

const script: Script<NfsSeen> = {
  name: 'setup-nfs',
  summary: 'Sets exports, the Proxmox storages and the StorageClasses on them, and proves who can mount what',
  description: [
    'Exports of a Linux NAS are set over SSH; what to enter at a Synology or UniFi NAS is said. Then each export is',
    'mounted from every K3s and Proxmox node: who may must be able to write, who may not must be refused.',
  ].join('\n'),
  secrets: () => ['PROXMOX_TOKEN_SECRET'],
  ...lazily({
    observe: async () => (await import('../lib/observe/nfs.ts')).observeNfs,
    plan: async () => (await import('../lib/plan/nfs.ts')).planNfs,
    verify: async () => (await import('../lib/verify/nfs.ts')).verifyNfs,
  }),
};

export default defineScript(import.meta.url, script);
