import type { Lab } from '../lab-context.ts';
import type { TemplateSeen } from '../observe/template.ts';
import { type Note, noSteps, type Plan, type Step } from '../step.ts';
import {
  buildProblems,
  buildSteps,
  hasInit,
  storageProblems,
  type TemplatePaths,
  wantedStamp,
} from './template-build.ts';
import { copySteps, removal } from './template-copies.ts';
import { isShared, type Placement, placeTemplates } from './template-placement.ts';
import { refusal, stateOf } from './template-state.ts';

/**
 * What build-template must do. Packer builds one template on the build node; where template.storage is local,
 * every other node gets a copy: full clone → migrate → convert.
 */
export function planTemplate(lab: Lab, seen: TemplateSeen, paths: TemplatePaths): Plan {
  const { config } = lab;
  const { template } = config;
  const placement = placementOf(lab, seen);
  if (!seen.vms.ok) return blocked(`the Proxmox API does not answer: ${seen.vms.reason}`, 'npx tsx scripts/check.ts');
  const vms = seen.vms.value;
  const wanted = wantedStamp(lab, seen.sources);
  if (!wanted) {
    const { publicKeyFile, privateKeyFile } = seen.sources;
    return blocked(
      `${publicKeyFile} is missing: its key goes into the template`,
      `ssh-keygen -t ed25519 -f ${privateKeyFile}, or set ssh.key in homelab.yaml`,
    );
  }

  const states = new Map(placement.all.map((at) => [at, stateOf(at, vms, wanted, config)]));
  const base = placement.all.find(({ node }) => node === template.build_node)!;
  if ([...states.values()].every(({ is }) => is === 'current')) return noSteps;

  const notes = [...notesOf(placement, seen), ...[...states].flatMap(([at, state]) => refusal(at, state))];
  const steps: Step[] = [];
  if (states.get(base)?.is !== 'current') {
    notes.push(...buildProblems(lab, seen));
    steps.push(...removal(base, states.get(base), []), ...buildSteps(lab, seen, paths, base, wanted));
  }
  for (const [at, state] of states) {
    if (at === base || state.is === 'current') continue;
    notes.push(...storageProblems(seen, at.node, template.storage));
    steps.push(...removal(at, state, ['packer/build']), ...copySteps(template.name, base, at, state, wanted));
  }
  return { steps: withKnownAfter(steps), notes };
}

/** Where templates belong, by what Proxmox says of template.storage. */
export function placementOf({ config }: Lab, { storages }: Pick<TemplateSeen, 'storages'>): Placement {
  return placeTemplates(config, isShared(storages[config.template.build_node], config.template.storage));
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

/** Steps name all that they could be after; what is not in the plan is done already. */
function withKnownAfter(steps: Step[]): Step[] {
  const ids = new Set(steps.map(({ id }) => id));
  return steps.map((step) => ({ ...step, after: step.after?.filter((id) => ids.has(id)) }));
}

function blocked(text: string, fix: string): Plan {
  return { steps: [], notes: [{ level: 'blocker', text, fix }] };
}
