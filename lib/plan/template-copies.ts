import type { Step } from '../step.ts';
import { renderNotes, type TemplateStamp } from './template-hash.ts';
import type { TemplateAt } from './template-placement.ts';
import type { TemplateState } from './template-state.ts';

const MINUTES = 60;

/**
 * Deletes what stands in the way. A template that served counts as a loss; the rest of an aborted build does not.
 * @param after a copy is deleted only when what replaces it was built
 */
export function removal(at: TemplateAt, state: TemplateState | undefined, after: string[]): Step[] {
  if (state?.is !== 'stale' && state?.is !== 'leftover') return [];
  const { vm } = state;
  const path = `/nodes/${vm.node}/qemu/${vm.vmid}`;
  const id = `${at.node}/remove`;
  const stop: Step = {
    id: `${at.node}/stop`,
    title: `stop VM ${vm.vmid}`,
    why: 'it is left from a build that was interrupted',
    host: at.node,
    after,
    action: { kind: 'pve', method: 'POST', path: `${path}/status/stop`, deadline: 2 * MINUTES },
  };
  const remove: Step = {
    id,
    title: `delete ${vm.template ? 'template' : 'VM'} ${vm.vmid}`,
    why: state.is === 'stale' ? state.why : 'it is left from a build that was interrupted',
    host: at.node,
    after: vm.running ? [stop.id] : after,
    ...(state.is === 'stale' && { destroys: [`template ${vm.name} (${vm.vmid}) on ${vm.node}`] }),
    action: {
      kind: 'pve',
      method: 'DELETE',
      path,
      params: { purge: 1, 'destroy-unreferenced-disks': 1 },
      deadline: 5 * MINUTES,
    },
  };
  return vm.running ? [stop, remove] : [remove];
}

/** Full clone beside the original, migration to its node, conversion: each from where the last run stopped. */
export function copySteps(
  name: string,
  base: TemplateAt,
  at: TemplateAt,
  state: TemplateState,
  wanted: TemplateStamp,
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
    ...call('clone', `clone ${base.vmid} to ${at.vmid}`, 'no current template', base.node, base.vmid, {
      newid: at.vmid,
      full: 1,
      name,
      description: renderNotes(wanted),
    }),
    after: ['packer/build', `${at.node}/remove`],
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
  if (state.is === 'cloned') return [migrate, convert];
  if (state.is === 'migrated') return [convert];
  return [clone, migrate, convert];
}
