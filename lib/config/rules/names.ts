import { CLIENT_GROUPS, isGroup } from '../clients.ts';
import type { ConfigProblem } from '../load.ts';
import type { Config } from '../schema.ts';

type Named = { name: string; kind: string; path: (string | number)[] };

/** Names and VMIDs that must be nobody else's. */
export function nameProblems(config: Config): ConfigProblem[] {
  return [...hostNames(config), ...otherNames(config), ...vmids(config)];
}

/** Everything with an address shares one name space: --limit, addresses and NFS clients go by it. */
function hostNames({ k3s, proxmox, nas, network }: Config): ConfigProblem[] {
  const named: Named[] = [
    ...list(proxmox.nodes, 'a Proxmox node', ['proxmox', 'nodes']),
    ...list(network.hosts, 'a host', ['network', 'hosts']),
    ...list(nas, 'a NAS', ['nas']),
    ...list(k3s.nodes, 'a K3s node', ['k3s', 'nodes']),
  ];
  const groups = named.flatMap(({ name, path }) =>
    isGroup(name)
      ? {
          path,
          message: `the name "${name}" stands for all ${CLIENT_GROUPS[name].what}`,
          fix: 'give it another name',
        }
      : [],
  );
  return [...duplicates(named), ...groups];
}

function otherNames({ proxmox, nas, storage_classes, backup }: Config): ConfigProblem[] {
  return [
    list(proxmox.storages, 'a storage', ['proxmox', 'storages']),
    ...nas.map(({ name, exports }, i) => list(exports, `an export of ${name}`, ['nas', i, 'exports'])),
    list(storage_classes, 'a StorageClass', ['storage_classes']),
    list(backup?.postgresql ?? [], 'a PostgreSQL server', ['backup', 'postgresql']),
  ].flatMap(duplicates);
}

/** The template has a VMID of its own on each Proxmox node, counted from template.vmid. */
function vmids({ k3s, proxmox, template }: Config): ConfigProblem[] {
  const taken = new Map(
    proxmox.nodes.map((node, i) => [template.vmid + i, `the template on ${node.name} (template.vmid + ${i})`]),
  );
  return k3s.nodes.flatMap(({ name, vmid }, i) => {
    const other = taken.get(vmid);
    taken.set(vmid, other ?? name);
    if (other === undefined) return [];
    const path = ['k3s', 'nodes', i, 'vmid'];
    return [{ path, message: `VMID ${vmid} is used by both ${other} and ${name}`, fix: 'give one of them another' }];
  });
}

function list(entries: readonly { name: string }[], kind: string, path: (string | number)[]): Named[] {
  return entries.map(({ name }, i) => ({ name, kind, path: [...path, i, 'name'] }));
}

function duplicates(named: readonly Named[]): ConfigProblem[] {
  const seen = new Map<string, Named>();
  return named.flatMap((one) => {
    const other = seen.get(one.name);
    if (!other) seen.set(one.name, one);
    if (!other) return [];
    return [
      {
        path: one.path,
        message: `the name "${one.name}" is that of ${other.kind} already`,
        fix: 'give it another name',
      },
    ];
  });
}
