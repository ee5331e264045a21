import { suggestion } from '../../suggest.ts';
import type { ConfigProblem } from '../load.ts';
import type { Config } from '../schema.ts';

/** What Proxmox could not give, and the trust that it needs. */
export function machineProblems(config: Config): ConfigProblem[] {
  return [...gpus(config), ...disks(config), ...pins(config)];
}

/** A passed-through device is on one Proxmox node, and in one VM of it. */
function gpus({ k3s, proxmox }: Config): ConfigProblem[] {
  const users = new Map<string, string>();
  return k3s.nodes.flatMap(({ name, node, gpu }, i) => {
    const home = proxmox.nodes.find((one) => one.name === node);
    if (gpu === undefined || !home) return [];
    const path = ['k3s', 'nodes', i, 'gpu'];
    if (!home.gpus.includes(gpu)) {
      const there = proxmox.nodes.filter((one) => one.gpus.includes(gpu)).map((one) => one.name);
      const known = proxmox.nodes.flatMap((one) => one.gpus);
      if (there.length === 0)
        return [{ path, message: `there is no GPU mapping "${gpu}"`, fix: suggestion(gpu, known) }];
      return [
        {
          path,
          message: `the GPU ${gpu} is on ${there.join(', ')}, and ${name} lives on ${node}`,
          fix: `move ${name} to ${there.join(' or ')}, or add ${gpu} to the gpus of ${node}`,
        },
      ];
    }
    const key = `${node}/${gpu}`;
    const other = users.get(key);
    users.set(key, other ?? name);
    if (other === undefined) return [];
    return [{ path, message: `the GPU ${gpu} of ${node} is used by both ${other} and ${name}`, fix: 'give it to one' }];
  });
}

/** A clone's disk can grow, never shrink. */
function disks({ k3s, template }: Config): ConfigProblem[] {
  return k3s.nodes.flatMap(({ name, disk_gib }, i) =>
    disk_gib < template.disk_gib
      ? [
          {
            path: ['k3s', 'nodes', i, 'disk_gib'],
            message: `${name}'s disk of ${disk_gib} GiB is smaller than the template's (${template.disk_gib} GiB)`,
            fix: `give it at least ${template.disk_gib}, or make template.disk_gib smaller`,
          },
        ]
      : [],
  );
}

/** Every Proxmox node is recognised by the CA or by its certificate: TLS is never left unverified. */
function pins({ proxmox }: Config): ConfigProblem[] {
  if (proxmox.ca_file !== undefined) return [];
  return proxmox.nodes.flatMap(({ name, fingerprint }, i) =>
    fingerprint === undefined
      ? [
          {
            path: ['proxmox', 'nodes', i],
            message: `${name} has no fingerprint, and there is no proxmox.ca_file: its certificate could not be verified`,
            fix: 'copy /etc/pve/pve-root-ca.pem and name it in proxmox.ca_file, or add the fingerprint',
          },
        ]
      : [],
  );
}
