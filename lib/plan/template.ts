import type { Lab } from '../lab-context.ts';
import type { TemplateSeen } from '../observe/template.ts';
import type { VmSeen } from '../observe/vms.ts';
import type { Answer } from '../ports/types.ts';
import { joinPlans, type Note, type Plan, type Step } from '../step.ts';
import { editedNotes } from './generated.ts';
import { buildSteps, hasInit, wantedStamp } from './template-build.ts';
import { copySteps, removeLeftovers } from './template-copies.ts';
import { packerFiles, type TemplatePaths } from './template-files.ts';
import type { TemplateStamp } from './template-hash.ts';
import {
  isShared,
  leftoversOf,
  lockedOf,
  mayBeTemplate,
  type Placement,
  placeTemplates,
} from './template-placement.ts';
import { buildProblems, storageProblems } from './template-problems.ts';
import { oldNote, oldTemplates, pruneSteps } from './template-prune.ts';

/**
 * What build-template must do. Packer builds one template on the build node; where template.storage is local,
 * every other node gets a copy: full clone → migrate → convert. Templates of other inputs stay as they are.
 * @param prune old templates that no VM links to are removed in the end
 */
export function planTemplate(lab: Lab, seen: TemplateSeen, paths: TemplatePaths, prune = false): Plan {
  const { config } = lab;
  if (!seen.vms.ok)
    return blocked(
      `Proxmox cannot be asked: ${seen.vms.reason}`,
      seen.vms.fix ?? 'npx tsx scripts/check.ts',
      'Proxmox',
    );
  const vms = seen.vms.value;
  const wanted = wantedStamp(lab, seen.sources);
  if (!wanted) {
    const { publicKeyFile, privateKeyFile } = seen.sources;
    return blocked(
      `${publicKeyFile} is missing: its key goes into the template`,
      `ssh-keygen -t ed25519 -f ${privateKeyFile}, or set ssh.key in homelab.yaml`,
    );
  }

  const placement = placementOf(lab, { storages: seen.storages, vms: seen.vms, wanted });
  const made = makeTemplates(lab, seen, paths, placement, wanted);
  const old = oldTemplates(config, placement, vms, wanted);
  if (!prune) return { steps: made.steps, notes: [...made.notes, ...oldNote(old)] };
  const last = made.steps.map(({ id }) => id);
  return joinPlans(made, pruneSteps(config, old, vms, seen.cds, last));
}

/** What is missing, and what an interrupted build left. */
function makeTemplates(
  lab: Lab,
  seen: TemplateSeen,
  paths: TemplatePaths,
  placement: Placement,
  wanted: TemplateStamp,
): Plan {
  const { config } = lab;
  const { template } = config;
  const vms = seen.vms.ok ? seen.vms.value : [];
  const leftovers = leftoversOf(config, vms);
  const missing = placement.all.filter(({ is }) => is !== 'current');
  const base = placement.all.find(({ node }) => node === template.build_node)!;
  const willBuild = base.is === 'absent';
  const files = packerFiles(lab, seen, paths, base, wanted);
  const edited = editedNotes(
    lab,
    seen.record,
    files,
    willBuild ? 'it is written anew' : 'the next build writes it anew',
  );
  if (missing.length === 0 && leftovers.length === 0) return { steps: [], notes: edited };

  const steps = removeLeftovers(leftovers, seen.cds, template.build_node);
  const room = steps.map(({ id }) => id);
  const notes = [
    ...notesOf(placement, seen),
    ...edited,
    ...lockedOf(config, vms, placement, wanted).map(locked),
    ...vms.filter((vm) => vm.unread && mayBeTemplate(config)(vm)).map(unread),
  ];
  if (willBuild) {
    notes.push(...buildProblems(lab, seen));
    steps.push(...buildSteps(lab, seen, paths, base, wanted, room));
  }
  const original = willBuild ? 'packer/build' : `${base.node}/template`;
  for (const at of missing) {
    if (at === base && willBuild) continue;
    notes.push(...storageProblems(seen, at.node, template.storage));
    steps.push(...copySteps(template.name, base, at, wanted, [...room, original]));
  }
  return { steps: withKnownAfter(steps), notes };
}

/** Where templates are and belong, by what Proxmox says of template.storage and of its VMs. */
export function placementOf(
  { config }: Lab,
  {
    storages,
    vms,
    wanted,
  }: Pick<TemplateSeen, 'storages'> & { vms: Answer<VmSeen[]>; wanted: TemplateStamp | undefined },
): Placement {
  const shared = isShared(storages[config.template.build_node], config.template.storage);
  return placeTemplates(config, shared, vms.ok ? vms.value : [], wanted);
}

function notesOf({ mode }: Placement, seen: TemplateSeen): Note[] {
  const notes: Note[] = [
    {
      level: 'info',
      text:
        mode === 'shared'
          ? 'template.storage is shared: one template serves every node'
          : 'template.storage is local to its node: each node gets its own template',
    },
  ];
  if (seen.packer.version && !hasInit(seen.packer.version))
    notes.push({ level: 'info', text: `packer ${seen.packer.version} is older than 1.7: no packer init` });
  return notes;
}

function locked({ vmid, node, lock }: VmSeen): Note {
  return {
    level: 'blocker',
    text: `VM ${vmid} on ${node} is locked (${lock})`,
    waitsFor: 'a task of Proxmox',
    fix: `a task is under way: wait for it; when there is none, qm unlock ${vmid} on ${node}`,
  };
}

/** Without its notes nobody knows whether it is the template that is missing. */
function unread({ vmid, node, unread }: VmSeen): Note {
  return {
    level: 'blocker',
    text: `the notes of VM ${vmid} on ${node} cannot be read: ${unread}`,
    fix: `is ${node} up, and has the token VM.Audit on /vms/${vmid}?`,
    host: node,
  };
}

/** Steps name all that they could be after; what is not in the plan is done already. */
function withKnownAfter(steps: Step[]): Step[] {
  const ids = new Set(steps.map(({ id }) => id));
  return steps.map((step) => ({ ...step, after: step.after?.filter((id) => ids.has(id)) }));
}

function blocked(text: string, fix: string, waitsFor?: Note['waitsFor']): Plan {
  return { steps: [], notes: [{ level: 'blocker', text, fix, waitsFor }] };
}
