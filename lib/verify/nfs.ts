import type { Lab } from '../lab-context.ts';
import { findExport } from '../lookup.ts';
import { storageProblem } from '../plan/nfs.ts';
import type { PveStorage } from '../plan/nfs-seen.ts';
import type { Ports } from '../ports/types.ts';
import type { Proof } from '../step.ts';
import { proveClaim } from './nfs-claim.ts';
import { proveMounts } from './nfs-mounts.ts';

/** Exports are proven by mounting them, Proxmox's storage by what each node says of it, a class by a claim. */
export async function verifyNfs(lab: Lab, ports: Ports): Promise<Proof[]> {
  const classes = lab.config.storage_classes.filter((each) => each.export);
  const proofs = await Promise.all([
    proveMounts(lab, ports),
    proveStorages(lab, ports),
    ...classes.map((each) => proveClaim(lab, ports, each)),
  ]);
  return proofs.flat();
}

/** A storage with an export behind it is that export, and in use on every node. */
export async function proveStorages({ config }: Lab, { pve }: Pick<Ports, 'pve'>): Promise<Proof[]> {
  const storages = config.proxmox.storages.filter((each) => each.export);
  if (storages.length === 0) return [];
  const all = await pve.get<PveStorage[]>('/storage');
  return Promise.all(
    storages.map(async ({ name, export: reference }): Promise<Proof> => {
      const { nas, export: found } = findExport(config, reference ?? '');
      const claim = `every Proxmox node uses ${reference} as ${name}`;
      if (!all.ok) return { claim, ok: false, detail: all.reason };
      const live = all.value.find((each) => each.storage === name);
      const problem = live ? storageProblem(live, nas.address, found.path) : 'is not there';
      if (problem) return { claim, ok: false, detail: `${name} ${problem}` };
      const idle = await Promise.all(
        config.proxmox.nodes.map(async (node) => {
          const status = await pve.get<{ active?: number }>(`/nodes/${node.name}/storage/${name}/status`);
          if (!status.ok) return [`${node.name} (${status.reason})`];
          return status.value.active === 1 ? [] : [`${node.name} (not active)`];
        }),
      );
      const bad = idle.flat();
      return {
        claim,
        ok: bad.length === 0,
        detail: bad.length === 0 ? `active on ${config.proxmox.nodes.length} nodes` : `not on ${bad.join(', ')}`,
      };
    }),
  );
}
