import type { VmSeen } from '../observe/vms.ts';
import type { Step } from '../step.ts';
import { reasonFor } from './template-build.ts';
import { renderNotes, type TemplateStamp } from './template-hash.ts';
import type { PlacedTemplate, TemplateAt } from './template-placement.ts';
import { deleteCd, generatedCds } from './template-prune.ts';

const MINUTES = 60;

/**
 * Deletes what a killed Packer left. Nothing is lost with it.
 * @param cds CDs that Packer generated, by volume id, on the build node
 */
export function removeLeftovers(leftovers: readonly VmSeen[], cds: readonly string[], buildNode: string): Step[] {
  const why = 'it is left from a build that was interrupted';
  return leftovers.flatMap((vm) => {
    const { vmid, node, running } = vm;
    const path = `/nodes/${node}/qemu/${vmid}`;
    const stop: Step = {
      id: `leftover ${vmid}/stop`,
      title: `stop VM ${vmid}`,
      why,
      host: node,
      action: { kind: 'pve', method: 'POST', path: `${path}/status/stop`, deadline: 2 * MINUTES },
    };
    const remove: Step = {
      id: `leftover ${vmid}/remove`,
      title: `delete VM ${vmid}`,
      why,
      host: node,
      after: running ? [stop.id] : [],
      action: {
        kind: 'pve',
        method: 'DELETE',
        path,
        params: { purge: 1 },
        deadline: 5 * MINUTES,
      },
    };
    const left = generatedCds(vm).filter((volume) => cds.includes(volume));
    return [
      ...(running ? [stop, remove] : [remove]),
      ...left.map((volume) => deleteCd(buildNode, volume, why, [remove.id])),
    ];
  });
}

/**
 * Full clone beside the original, migration to its node, conversion: each from where the last run stopped.
 * @param after ids of steps that make room for it, or the original
 */
export function copySteps(
  name: string,
  base: TemplateAt,
  at: PlacedTemplate,
  wanted: TemplateStamp,
  after: string[],
): Step[] {
  const call = (verb: string, title: string, why: string, node: string, vmid: number, params: object): Step => ({
    id: `${at.node}/${verb}`,
    title,
    why,
    host: at.node,
    action: {
      kind: 'pve',
      method: 'POST',
      path: `/nodes/${node}/qemu/${vmid}/${verb}`,
      params: { ...params },
      deadline: 60 * MINUTES,
    },
  });
  const clone: Step = {
    ...call('clone', `clone ${base.vmid} to ${at.vmid}`, reasonFor(at, wanted), base.node, base.vmid, {
      newid: at.vmid,
      full: 1,
      name,
      description: renderNotes({ ...wanted, for: at.node }),
    }),
    after,
    // Proxmox locks the template while it is copied.
    lane: `template ${base.vmid}`,
  };
  const migrate: Step = {
    ...call('migrate', `migrate ${at.vmid} to ${at.node}`, `it is on ${base.node}`, base.node, at.vmid, {
      target: at.node,
    }),
    after: [clone.id],
    lane: `template ${base.vmid}`,
  };
  const convert: Step = {
    ...call('template', `make ${at.vmid} a template`, 'it is a VM still', at.node, at.vmid, {}),
    after: [migrate.id],
  };
  if (at.is === 'cloned') return [migrate, convert];
  if (at.is === 'unconverted') return [convert];
  return [clone, migrate, convert];
}
