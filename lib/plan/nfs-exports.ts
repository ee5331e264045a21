import type { Config, Nas } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { addressOf, clientsOf } from '../lookup.ts';
import { type Allowed, activeExports, EXPORTS_FILE, exportsFile } from '../render/exports.ts';
import type { Note, Plan, Step } from '../step.ts';
import type { LinuxNasSeen, NfsSeen } from './nfs-seen.ts';

/** Prints what to enter at NAS whose exports no script can set. */
export const SETTINGS = 'npx tsx scripts/setup-nfs.ts --settings';

/** Every export of a NAS, with the addresses of those who may mount it. */
export function allowedOf(lab: Lab, nas: Nas): Allowed[] {
  return nas.exports.map((each) => ({
    export: each,
    addresses: clientsOf(lab.config, each.clients)
      .map((name) => addressOf(lab, name))
      .sort((a, b) => a.localeCompare(b, 'en', { numeric: true })),
  }));
}

/** NAS whose exports are set by hand, with what each is to let in. */
export function setByHand(lab: Lab): { nas: Nas; allowed: Allowed[] }[] {
  return lab.config.nas.filter(({ kind }) => kind !== 'linux').map((nas) => ({ nas, allowed: allowedOf(lab, nas) }));
}

/** The hosts of the lab from which a mount can be tried: K3s and Proxmox nodes. */
export function labHosts({ k3s, proxmox }: Pick<Config, 'k3s' | 'proxmox'>): string[] {
  return [...k3s.nodes, ...proxmox.nodes].map(({ name }) => name);
}

/** Exports: set on a Linux NAS, and of every other compared with what it says of itself. */
export function planExports(lab: Lab, seen: Pick<NfsSeen, 'nas' | 'hosts'>): Plan {
  const steps: Step[] = [];
  const notes: Note[] = [];
  for (const nas of lab.config.nas) {
    const allowed = allowedOf(lab, nas);
    if (nas.kind !== 'linux') {
      notes.push(...handNotes(lab.config, nas, seen.hosts));
      continue;
    }
    const answer = seen.nas[nas.name];
    if (!answer?.ok)
      notes.push({
        level: 'blocker',
        text: `${nas.name} does not answer by SSH: ${answer?.reason ?? 'not looked at'}`,
        fix: 'it must let ssh.key in, and be on before anything depends on it',
      });
    const { steps: more, notes: others } = planLinux(
      nas,
      allowed,
      answer?.ok ? answer.value : { missing: [], active: '' },
    );
    steps.push(...more);
    notes.push(...others);
  }
  return { steps, notes };
}

/**
 * An export that is not there would be missed by whatever is set up on it; who may mount it is proven by mounting. Some
 * servers show each host only what it may mount: what an export's own clients are not shown is missing, or not for them.
 * NFSv4 may name a path from another root than the list does.
 */
function handNotes(config: Config, { name, address, exports, nfs_version }: Nas, hosts: NfsSeen['hosts']): Note[] {
  const shownTo = (host: string): string[] => {
    const answer = hosts[host];
    return answer?.ok ? (answer.value.exports[address] ?? []).map(({ path }) => path) : [];
  };
  const all = new Set(Object.keys(hosts).flatMap(shownTo));
  if (all.size === 0)
    return [{ level: 'info', text: `the exports of ${name} are set by hand; ${SETTINGS} prints what to enter` }];
  return exports.flatMap(({ path, clients }): Note[] => {
    const asked = clientsOf(config, clients).filter((host) => shownTo(host).length > 0);
    if (all.has(path) || asked.length === 0) return [];
    return [
      {
        level: nfs_version === '3' ? 'blocker' : 'warning',
        text: `${name} has no export ${path} for ${asked.join(', ')} (it shows ${[...all].join(', ')})`,
        fix: `set it: ${SETTINGS} prints what to enter`,
      },
    ];
  });
}

function planLinux(nas: Nas, allowed: readonly Allowed[], { file, active, missing }: LinuxNasSeen): Plan {
  const notes: Note[] = missing.map((path) => ({
    level: 'blocker',
    text: `${nas.name} has no folder ${path}`,
    fix: 'make it, on the file system that shall hold the data (it is not made here: its disk may just not be mounted)',
  }));
  if (active === undefined)
    notes.push({
      level: 'blocker',
      text: `${nas.name} has no NFS server`,
      fix: `on ${nas.name}: apt-get install nfs-kernel-server`,
    });
  const all = activeExports(active ?? '');
  const served = all.filter(({ path }) => allowed.some((each) => each.export.path === path));
  const isWanted = ({ path, client }: { path: string; client: string }): boolean =>
    allowed.some((each) => each.export.path === path && each.addresses.includes(client));
  const unserved = allowed.flatMap(({ export: { path }, addresses }) =>
    addresses.filter((client) => !served.some((entry) => entry.path === path && entry.client === client)),
  );
  const foreign = served.filter((entry) => !isWanted(entry));
  const wanted = exportsFile(allowed);

  const steps: Step[] = [];
  if (file !== wanted)
    steps.push({
      id: `${nas.name}/exports`,
      title: `write ${EXPORTS_FILE}`,
      why: file === undefined ? 'absent' : 'differs',
      host: nas.name,
      action: { kind: 'upload', host: nas.name, path: EXPORTS_FILE, content: wanted, mode: '0644', owner: 'root:root' },
    });
  if (steps.length > 0 || unserved.length > 0)
    steps.push({
      id: `${nas.name}/exportfs`,
      title: 'exportfs -ra',
      why: steps.length > 0 ? 'the exports change' : `not served to ${[...new Set(unserved)].join(', ')}`,
      host: nas.name,
      after: steps.map(({ id }) => id),
      action: { kind: 'remote', host: nas.name, argv: ['exportfs', '-ra'], sudo: true, deadline: 60 },
    });
  // While our own file changes, what is served too much may come from its old form.
  else
    for (const { path, client } of foreign)
      notes.push({
        level: 'warning',
        text: `${nas.name} exports ${path} to ${client} too, which homelab.yaml does not allow`,
        fix: `take it out of /etc/exports or /etc/exports.d, then exportfs -ra`,
      });
  return { steps, notes: [...notes, ...parentNotes(nas.name, all, allowed)] };
}

/** Who mounts a folder above an export sees it too, whatever the export itself says. */
function parentNotes(
  nas: string,
  all: readonly { path: string; client: string }[],
  allowed: readonly Allowed[],
): Note[] {
  return allowed.flatMap(({ export: { path }, addresses }) =>
    all
      .filter((entry) => path.startsWith(entry.path.replace(/\/?$/, '/')) && !addresses.includes(entry.client))
      .map((entry) => ({
        level: 'warning',
        text: `${nas} exports ${entry.path} to ${entry.client}, and ${path} lies in it: who may mount the one has the other`,
        fix: 'take it out of /etc/exports or /etc/exports.d, then exportfs -ra',
      })),
  );
}
