import type { Lab } from '../lab-context.ts';
import { findExport } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import { storageProblem } from '../plan/nfs.ts';
import { setByHand } from '../plan/nfs-exports.ts';
import type { PveStorage } from '../plan/nfs-seen.ts';
import type { Ports } from '../ports/types.ts';
import { settingsText } from '../render/nas-settings.ts';
import type { Proof } from '../step.ts';
import { proveClaim } from './nfs-claim.ts';
import { tryMounts } from './nfs-mounts.ts';
import { isSetWrong, isUsable, proofsOfNas } from './nfs-proofs.ts';

/** Exports are proven by mounting them, Proxmox's storage by what each node says of it, a class by a claim. */
export async function verifyNfs(
  lab: Lab,
  ports: Ports,
  _args: unknown,
  { atEnd, say }: Pick<RunContext, 'atEnd' | 'say'>,
): Promise<Proof[]> {
  const classes = lab.config.storage_classes.filter((each) => each.export);
  const trying = tryMounts(lab, ports);
  const [mounts, ...proofs] = await Promise.all([
    trying,
    proveStorages(lab, ports),
    ...classes.map(async (each) => {
      const { export: found } = findExport(lab.config, each.export ?? '');
      const tried = (await trying).flatMap((one) => one.tried).find((one) => one.export === found);
      return tried && isUsable(tried) ? proveClaim(lab, ports, each) : [notTried(each.name)];
    }),
  ]);
  const wrong = mounts.filter(({ tried }) => isSetWrong(tried)).map(({ nas }) => nas);
  const byHand = setByHand(lab).filter(({ nas }) => wrong.includes(nas));
  // Below all proofs, where it is found.
  if (byHand.length > 0) atEnd(async () => say(`\n${settingsText(byHand)}`));
  return [...mounts.flatMap(({ nas, tried }) => proofsOfNas(nas, tried)), ...proofs.flat()];
}

/** Whoever waits for a volume on an export that nobody can mount waits for minutes, and learns nothing. */
function notTried(name: string): Proof {
  const claim = `a claim of ${name} gets its folder`;
  return { claim, ok: false, skipped: true, detail: 'not tried: nobody can use its export' };
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
