import type { Config } from '../config/schema.ts';
import type { Answer } from '../ports/types.ts';
import type { Note } from '../step.ts';

/** What the API token must be allowed, on which path, and for what. */
export type Need = { path: string; role: string; privileges: string[]; why: string };

const VM_CONFIG = ['Disk', 'CDROM', 'CPU', 'Memory', 'Network', 'HWType', 'Options', 'Cloudinit'].map(
  (part) => `VM.Config.${part}`,
);

/** The least set of privileges for all scripts and this homelab.yaml. */
export function neededPrivileges({ proxmox, template, k3s }: Config): Need[] {
  const disks = new Set([template.storage, ...k3s.nodes.flatMap(({ storage }) => storage ?? [])]);
  const gpus = new Set(k3s.nodes.flatMap(({ gpu }) => gpu ?? []));
  return [
    {
      path: '/vms',
      role: 'HomelabVM',
      privileges: [
        'VM.Allocate',
        'VM.Audit',
        'VM.Clone',
        'VM.PowerMgmt',
        'VM.Console',
        'VM.Migrate',
        ...VM_CONFIG,
        'VM.GuestAgent.Audit',
        'VM.GuestAgent.FileRead',
      ],
      why: 'templates and VMs; the guest agent tells addresses and SSH host keys',
    },
    ...[...disks].map((name) => ({
      path: `/storage/${name}`,
      role: 'HomelabDisk',
      privileges: ['Datastore.AllocateSpace', 'Datastore.Audit'],
      why: 'disks of VMs',
    })),
    {
      path: `/storage/${template.iso.storage}`,
      role: 'HomelabISO',
      privileges: ['Datastore.Allocate', 'Datastore.AllocateTemplate', 'Datastore.Audit'],
      why: "the installer's ISO, and the generated CD that is deleted again",
    },
    {
      path: '/storage',
      role: 'HomelabStorage',
      privileges: ['Datastore.Allocate', 'Datastore.Audit'],
      why: 'adding the NFS storage of the NAS',
    },
    {
      path: `/sdn/zones/localnetwork/${proxmox.bridge}`,
      role: 'HomelabNet',
      privileges: ['SDN.Use'],
      why: 'network cards on the bridge',
    },
    ...[...gpus].map((name) => ({
      path: `/mapping/pci/${name}`,
      role: 'HomelabGPU',
      privileges: ['Mapping.Use'],
      why: 'GPU passthrough',
    })),
    {
      path: '/nodes',
      role: 'HomelabAudit',
      privileges: ['Sys.Audit', 'Sys.AccessNetwork'],
      why: "memory and disk of the nodes; the ISO's download",
    },
  ];
}

/** What only the template, the installer's ISO and the storage of the NAS need. */
const NOT_OF_PROVISION = new Set([
  'VM.Console',
  'VM.Migrate',
  'Datastore.Allocate',
  'Datastore.AllocateTemplate',
  'Sys.AccessNetwork',
]);

/** The part of it that making, changing and destroying VMs needs, of provision itself and of Terraform's provider. */
export function provisionPrivileges(config: Config): Need[] {
  const others = ['HomelabISO', 'HomelabStorage'];
  return neededPrivileges(config)
    .filter(({ role }) => !others.includes(role))
    .map((need) => ({ ...need, privileges: need.privileges.filter((name) => !NOT_OF_PROVISION.has(name)) }));
}

/** Privileges by path: what several needs ask for on one path is given together. */
export function aclOf(needs: readonly Need[]): Record<string, string[]> {
  const acl: Record<string, string[]> = {};
  for (const { path, privileges } of needs) acl[path] = [...new Set([...(acl[path] ?? []), ...privileges])];
  return acl;
}

/** What /access/permissions answers: path → privilege → 1. */
export type Granted = Record<string, Record<string, number>>;

/**
 * Needs that are not granted, with only the privileges that are missing. An ACL holds for what is below its path,
 * and a deeper one replaces it.
 */
export function missingPrivileges(needs: readonly Need[], granted: Granted): Need[] {
  return needs.flatMap((need) => {
    const deepest = ancestors(need.path).find((path) => granted[path]);
    const has = deepest === undefined ? {} : granted[deepest]!;
    const privileges = need.privileges.filter((name) => has[name] === undefined);
    return privileges.length > 0 ? [{ ...need, privileges }] : [];
  });
}

/** What Terraform's provider would be refused half-way: every privilege that is missing, before anything is begun. */
export function privilegeNotes(config: Config, granted: Answer<Granted>): Note[] {
  // Why the API answers nothing is said where the VMs are read.
  if (!granted.ok) return [];
  return missingPrivileges(provisionPrivileges(config), granted.value).map(({ path, privileges, why }) => ({
    level: 'blocker',
    text: `the token ${config.proxmox.token_id} lacks ${privileges.join(', ')} on ${path} (${why})`,
    fix: 'npx tsx scripts/check.ts --role prints the commands that grant it; its user needs it too',
  }));
}

/** The commands that give a token what it needs, to paste on a Proxmox node. A privsep token has what it *and* its user have. */
export function roleCommands(config: Config): string {
  const [user = '', token = ''] = config.proxmox.token_id.split('!');
  const needs = neededPrivileges(config);
  const roles = new Map(needs.map(({ role, privileges }) => [role, privileges]));
  return [
    ...[...roles].map(([role, privileges]) => `pveum role add ${role} --privs "${privileges.join(' ')}"`),
    `pveum user add ${user}`,
    `pveum user token add ${user} ${token} --privsep 1`,
    ...needs.flatMap(({ path, role }) => [
      `pveum acl modify ${path} --users ${user} --roles ${role}`,
      `pveum acl modify ${path} --tokens '${user}!${token}' --roles ${role}`,
    ]),
  ].join('\n');
}

/** A path and what is above it, deepest first. */
function ancestors(path: string): string[] {
  const parts = path.split('/').filter(Boolean);
  return [...parts.map((_, i) => `/${parts.slice(0, parts.length - i).join('/')}`), '/'];
}
