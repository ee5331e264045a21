import type { Config, Nas } from '../config/schema.ts';
import { clientsOf } from '../lookup.ts';
import type { Note } from '../step.ts';
import type { NfsHostSeen, NfsSeen } from './nfs-seen.ts';

const NFS = 2049;
/** The portmapper, which tells a client of NFSv3 where the rest is. */
const PORTMAPPER = 111;

/** Ports of a NAS without which nothing of it can be mounted. */
export function nasPorts({ nfs_version }: Pick<Nas, 'nfs_version'>): number[] {
  return nfs_version === '3' ? [NFS, PORTMAPPER] : [NFS];
}

/** A NAS that is off is said once, before anything depends on it; one that only some hosts reach, with these. */
export function reachNotes(config: Config, hosts: NfsSeen['hosts']): Note[] {
  const asked = Object.entries(hosts).flatMap(([name, answer]) => (answer.ok ? [{ name, seen: answer.value }] : []));
  return [...config.nas.flatMap((nas) => nasNotes(config, nas, asked)), ...silentNotes(config, hosts)];
}

function silentNotes({ proxmox, ssh }: Config, hosts: NfsSeen['hosts']): Note[] {
  const silent = proxmox.nodes.flatMap(({ name }) => {
    const answer = hosts[name];
    return answer && !answer.ok ? [{ name, reason: answer.reason }] : [];
  });
  if (silent.length === 0) return [];
  const names = silent.map(({ name }) => name).join(', ');
  return [
    {
      level: 'warning',
      text: `no answer by SSH from ${names} (${silent[0]?.reason}): what can be mounted there cannot be tried`,
      fix: `let ssh.key in as ${ssh.proxmox_user}`,
    },
  ];
}

function nasNotes(config: Config, nas: Nas, asked: readonly { name: string; seen: NfsHostSeen }[]): Note[] {
  const clients = new Set(nas.exports.flatMap((each) => clientsOf(config, each.clients)));
  for (const port of nasPorts(nas)) {
    const what = port === NFS ? `NFS (port ${NFS})` : `its portmapper (port ${PORTMAPPER}), which NFSv3 needs,`;
    const without = asked.filter(({ seen }) => seen.closed.includes(`${nas.address} ${port}`)).map(({ name }) => name);
    if (without.length > 0 && without.length === asked.length)
      return [
        {
          level: 'blocker',
          text: `${nas.name} (${nas.address}): ${what} does not answer, asked from ${without.join(', ')}`,
          fix:
            port === NFS
              ? 'switch it on, and NFS in its settings'
              : 'switch NFSv3 on in its settings, or give another nas[].nfs_version',
        },
      ];
    const cut = without.filter((name) => clients.has(name));
    if (cut.length > 0)
      return [
        {
          level: 'blocker',
          text: `${nas.name} (${nas.address}): ${what} does not answer ${cut.join(', ')}, though it answers others`,
          fix: 'is there a firewall between their networks?',
        },
      ];
  }
  return [];
}

/** Whether a host reached a NAS. */
export function reaches({ closed }: NfsHostSeen, { address }: Pick<Nas, 'address'>): boolean {
  return !closed.includes(`${address} ${NFS}`);
}
