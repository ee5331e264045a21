import { join } from 'node:path';
import type { HostSpec } from './spec.ts';

/**
 * What a command finds in its environment beside PATH: what sshd sets, and where stand-ins find the lab.
 * @param root the folder that stands for `/`
 * @param home as the host names it
 * @param calls the folder of the session
 */
export function environmentOf(spec: HostSpec, root: string, home: string, calls: string): Record<string, string> {
  return {
    HOME: root + home,
    PWD: root + home,
    TMPDIR: `${root}/tmp`,
    USER: spec.user,
    LOGNAME: spec.user,
    SHELL: '/bin/sh',
    LANG: 'C.UTF-8',
    HOMELAB_LAB_CALL: calls,
    HOMELAB_LAB_SUDO: join(spec.folder, 'sudo-password'),
    ...(spec.user === 'root' ? { HOMELAB_LAB_ROOT: '1' } : {}),
  };
}
