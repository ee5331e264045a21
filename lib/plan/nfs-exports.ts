import type { Config, Nas } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { addressOf, clientsOf } from '../lookup.ts';
import { type Allowed, activeExports, EXPORTS_FILE, exportsFile, settingsToEnter } from '../render/exports.ts';
import type { Note, Plan, Step } from '../step.ts';
import type { LinuxNasSeen, NfsSeen } from './nfs-seen.ts';

/** Every export of a NAS, with the addresses of those who may mount it. */
export function allowedOf(lab: Lab, nas: Nas): Allowed[] {
  return nas.exports.map((each) => ({
    export: each,
    addresses: clientsOf(lab.config, each.clients)
      .map((name) => addressOf(lab, name))
      .sort((a, b) => a.localeCompare(b, 'en', { numeric: true })),
  }));
}

/** The hosts of the lab from which a mount can be tried: K3s and Proxmox nodes. */
export function labHosts({ k3s, proxmox }: Pick<Config, 'k3s' | 'proxmox'>): string[] {
  return [...k3s.nodes, ...proxmox.nodes].map(({ name }) => name);
}

/** Exports: set on a Linux NAS, said for every other. */
export function planExports(lab: Lab, seen: NfsSeen['nas']): Plan {
  const steps: Step[] = [];
  const notes: Note[] = [];
  for (const nas of lab.config.nas) {
    const allowed = allowedOf(lab, nas);
    if (nas.kind !== 'linux') {
      for (const each of allowed) notes.push({ level: 'info', text: `set by hand: ${settingsToEnter(nas, each)}` });
      continue;
    }
    const answer = seen[nas.name];
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
  const served = activeExports(active ?? '').filter(({ path }) => allowed.some((each) => each.export.path === path));
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
  return { steps, notes };
}
