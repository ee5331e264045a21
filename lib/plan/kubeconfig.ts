import type { Lab } from '../lab-context.ts';
import type { Args } from '../main.ts';
import { mergeKubeconfig, ownKubeconfig } from '../render/kubeconfig-merge.ts';
import type { Plan } from '../step.ts';
import { kubeconfigFile } from './k3s.ts';
import { shownPath } from './shown-path.ts';

export type KubeconfigArgs = Args & { into?: string; use: boolean; force: boolean };

export type KubeconfigSeen = {
  /** Ours, in .state. */
  own?: string;
  /** Where it goes, by the name that was given, and where that leads. */
  file: string;
  real: string;
  text?: string;
  mode?: number;
};

/** Our entries in the person's kubeconfig. What is merged holds a key, and so is made while applying. */
export function planKubeconfig(lab: Lab, seen: KubeconfigSeen, { use, force }: KubeconfigArgs): Plan {
  const from = kubeconfigFile(lab);
  if (seen.own === undefined)
    return {
      steps: [],
      notes: [
        {
          level: 'blocker',
          text: `${shownPath(lab, from)} is not there`,
          ...{ fix: 'run install-k3s first: it fetches it', waitsFor: 'install-k3s' },
        },
      ],
    };
  const own = ownKubeconfig(seen.own, from);
  const merged = mergeKubeconfig(seen.text, own, { file: seen.file, use, force });
  const why = ((): string | undefined => {
    if (seen.text === undefined) return 'there is no such file';
    if (merged !== seen.text) return 'its entries are missing, or others';
    return seen.mode === 0o600 ? undefined : 'others can read it';
  })();
  if (!why) return { steps: [], notes: [] };
  return {
    steps: [
      {
        id: 'merge',
        title: `put the cluster, user and context ${own.name} into ${seen.real}`,
        why,
        action: {
          ...{ kind: 'operation', name: 'merge-kubeconfig', deadline: 30 },
          args: { from, file: seen.file, real: seen.real, use, force },
        },
      },
    ],
    notes: [],
  };
}
