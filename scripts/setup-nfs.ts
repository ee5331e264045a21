import { defineScript, type Script } from '../lib/main.ts';
import { observeNfs } from '../lib/observe/nfs.ts';
import { planNfs } from '../lib/plan/nfs.ts';
import type { NfsSeen } from '../lib/plan/nfs-seen.ts';
import { verifyNfs } from '../lib/verify/nfs.ts';

const script: Script<NfsSeen> = {
  name: 'setup-nfs',
  summary: 'Sets exports, the Proxmox storages and the StorageClasses on them, and proves who can mount what',
  description: [
    'Exports of a Linux NAS are set over SSH; what to enter at a Synology or UniFi NAS is said. Then each export is',
    'mounted from every K3s and Proxmox node: who may must be able to write, who may not must be refused.',
  ].join('\n'),
  secrets: () => ['PROXMOX_TOKEN_SECRET'],
  observe: observeNfs,
  plan: planNfs,
  verify: verifyNfs,
};

export default defineScript(import.meta.url, script);
