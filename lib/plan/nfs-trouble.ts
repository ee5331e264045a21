import { SETTINGS } from './nfs-exports.ts';

/** What Proxmox's words mean when it cannot use an export. */
export function explainNfs(output: string): { cause?: string; fix: string } | undefined {
  if (/access denied by server|permission denied|no such file or directory|is not online/i.test(output))
    return {
      cause: 'the NAS does not export it, or not to every Proxmox node',
      fix: `${SETTINGS} prints what to enter there`,
    };
  if (/timed out|no route to host|connection refused/i.test(output))
    return { cause: 'the NAS does not answer', fix: 'switch it on, and run this again' };
  return undefined;
}
