import type { Config } from '../config/schema.ts';
import type { VmSeen } from '../observe/vms.ts';
import type { Note, Plan, Step } from '../step.ts';
import { parseNotes, staleness, type TemplateStamp } from './template-hash.ts';
import { destinationOf, type Placement } from './template-placement.ts';

const MINUTES = 60;

/** A template of this lab that nothing is made of any more, and why not. */
export type OldTemplate = { vm: VmSeen; why: string };

/** Templates of this lab, finished or not, that are not those that it wants now. */
export function oldTemplates(
  config: Config,
  placement: Placement,
  vms: readonly VmSeen[],
  wanted: TemplateStamp,
): OldTemplate[] {
  const needed = new Set(placement.all.filter(({ is }) => is !== 'absent').map(({ vmid }) => vmid));
  return vms
    .flatMap((vm): OldTemplate[] => {
      const stamp = vm.kind === 'qemu' ? parseNotes(vm.description) : undefined;
      if (stamp?.lab !== config.name || needed.has(vm.vmid)) return [];
      if (!vm.template && destinationOf(config, vm, stamp) === undefined) return [];
      if (stamp.hash !== wanted.hash) return [{ vm, why: staleness(stamp, wanted) }];
      return [{ vm, why: vm.template ? superfluous(config, placement, vm) : 'it was never finished' }];
    })
    .sort((a, b) => a.vm.vmid - b.vm.vmid);
}

/** Why a template of the wanted inputs is one too many. */
function superfluous({ proxmox }: Config, placement: Placement, { node }: VmSeen): string {
  if (!proxmox.nodes.some(({ name }) => name === node)) return `homelab.yaml has no ${node}`;
  if (placement.mode === 'shared' && placement.for(node).node !== node) return 'one template serves every node';
  return `VM ${placement.for(node).vmid} is the template on ${node}`;
}

/**
 * Removes old templates that no VM links to, once everything else of the plan is done.
 * @param vms all of the cluster, with their configurations
 * @param cds CDs that Packer generated, by volume id, on the build node
 */
export function pruneSteps(
  config: Config,
  old: readonly OldTemplate[],
  vms: readonly VmSeen[],
  cds: readonly string[],
  after: string[],
): Plan {
  const notes: Note[] = [];
  const steps: Step[] = [];
  const unread = vms.filter((vm) => vm.unread);
  if (old.length + cds.length > 0 && unread.length > 0) {
    const names = unread.map(({ vmid, node, unread }) => `VM ${vmid} on ${node} (${unread})`).join(', ');
    notes.push({
      level: 'blocker',
      text: `nothing is pruned: whether one links to a template, or holds a CD, is not known of ${names}`,
      fix: 'is its node up, and has the token VM.Audit on it?',
    });
    return { steps, notes };
  }
  for (const { vm, why } of old) {
    const { vmid, node, name, lock, running, template } = vm;
    const what = template ? 'template' : 'VM';
    const clones = vms.filter((one) => linksTo(one, vmid)).map((one) => `${one.name} (VM ${one.vmid} on ${one.node})`);
    const kept = clones.length > 0 ? `${clones.join(', ')} links to it` : lock && `it is locked (${lock})`;
    if (kept || running) {
      notes.push({ level: 'info', text: `${what} ${vmid} on ${node} stays (${why}): ${kept || 'it runs'}` });
      continue;
    }
    steps.push({
      id: `prune ${vmid}`,
      title: `delete ${what} ${vmid} on ${node}`,
      why,
      host: node,
      after,
      destroys: [`${what} ${name} (VM ${vmid} on ${node}): ${why}`],
      action: {
        kind: 'pve',
        method: 'DELETE',
        path: `/nodes/${node}/qemu/${vmid}`,
        params: { purge: 1 },
        deadline: 5 * MINUTES,
      },
    });
  }
  const used = new Set(vms.flatMap(generatedCds));
  for (const volume of cds.filter((cd) => !used.has(cd)))
    steps.push({
      ...deleteCd(config.template.build_node, volume, 'no VM has it in its drive', after),
      destroys: [`${volume} on ${config.template.build_node}, a CD that Packer made for one build`],
    });
  if (steps.length === 0 && notes.length === 0) notes.push({ level: 'info', text: 'there are no old templates' });
  return { steps, notes };
}

/** What an owner is told who did not ask for pruning. */
export function oldNote(old: readonly OldTemplate[]): Note[] {
  if (old.length === 0) return [];
  const list = old.map(({ vm, why }) => `VM ${vm.vmid} on ${vm.node} (${why})`).join(', ');
  return [
    {
      level: 'info',
      text: `${old.length} old template${old.length === 1 ? '' : 's'}: ${list}`,
      fix: 'npx tsx scripts/build-template.ts --prune removes those that no VM links to',
    },
  ];
}

/** Deletes a CD that Packer generated: it holds the answers of one installation. */
export function deleteCd(node: string, volume: string, why: string, after: string[]): Step {
  return {
    id: `cd ${volume}`,
    title: `delete ${volume}`,
    why,
    host: node,
    after,
    action: {
      kind: 'pve',
      method: 'DELETE',
      path: `/nodes/${node}/storage/${volume.split(':')[0]}/content/${volume}`,
      deadline: 5 * MINUTES,
    },
  };
}

/** CDs in a VM's drives that Packer generated. */
export function generatedCds({ config = {} }: Pick<VmSeen, 'config'>): string[] {
  return Object.values(config).flatMap((value) => {
    const volume = String(value).split(',')[0] ?? '';
    return GENERATED_CD.test(volume) ? [volume] : [];
  });
}

/** How Packer calls the CDs that it generates. */
export const GENERATED_CD = /:iso\/packer\d+\.iso$/;

/** Whether a VM's disk is a linked clone of one of a template: local-zfs:base-9000-disk-0/vm-105-disk-0. */
function linksTo({ vmid, config = {} }: VmSeen, template: number): boolean {
  const base = new RegExp(`(^|[:/])base-${template}-disk-\\d+[^/,]*/`);
  return vmid !== template && Object.values(config).some((value) => base.test(String(value).split(',')[0] ?? ''));
}
