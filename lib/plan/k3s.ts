import type { Lab } from '../lab-context.ts';
import { addressOf } from '../lookup.ts';
import { TOKEN } from '../render/k3s-config.ts';
import { kubeconfigHeader } from '../render/kubeconfig.ts';
import type { Plan, Step } from '../step.ts';
import { localFiles, pinStep } from './k3s-airgap.ts';
import { adoptable } from './k3s-cluster-problems.ts';
import { differsInServicelb } from './k3s-critical.ts';
import { factsOf } from './k3s-join.ts';
import { lostMajority } from './k3s-members.ts';
import { type NodeWork, workOn } from './k3s-node.ts';
import { k3sNotes } from './k3s-problems.ts';
import { guardRestarts } from './k3s-quorum.ts';
import { copySteps, emptiedNotes, snapshotOf, snapshotStep, unsavedNotes } from './k3s-saved.ts';
import type { SeenK3s } from './k3s-seen.ts';
import { type Around, nodeSteps } from './k3s-steps.ts';
import { shownPath } from './shown-path.ts';

/**
 * Servers one after another (etcd takes one learner at a time, and a member that restarts must be back before
 * the next goes), then agents: new ones side by side, existing ones one by one. What needs nothing has no step.
 * @param limit hosts of --limit; an agent that it leaves out need not be reachable
 */
export function planK3s(lab: Lab, seen: SeenK3s, { limit = [] }: { limit?: readonly string[] } = {}): Plan {
  const work = inTurn(lab, seen);
  const token = tokenStep(lab, seen, work);
  const pin = pinStep(lab, seen);
  const script = scriptStep(lab, seen, work);
  const snapshot = snapshotOf(seen, work);
  const copies = copySteps(seen, work);
  const guarded = guardRestarts(lab, seen, work);
  const around: Around = {
    ...{
      seen,
      token: idsOf(token),
      script: [...idsOf(script), ...idsOf(pin)],
      file: scriptFile(lab),
      snapshot: idsOf(copies),
    },
    ...{ lost: lostMajority(lab, seen), arithmetic: guarded.arithmetic },
  };
  const steps: Step[] = [...token, ...pin, ...script, ...copies];

  let saved = false;
  let gate: string[] = [];
  for (const server of work.filter(({ node }) => node.role === 'server')) {
    // A cluster that answers is saved before anything; one that must be mended first, as soon as it is.
    if (snapshot && !saved && (seen.cluster.answers || snapshot === server)) {
      saved = true;
      steps.push(snapshotStep(lab, snapshot, gate));
      around.snapshot = [...around.snapshot, 'snapshot'];
    }
    const own = nodeSteps(lab, server, gate, around);
    steps.push(...own);
    if (own.length > 0) gate = lastOf(own);
  }
  const servers = gate;
  for (const agent of work.filter(({ node }) => node.role === 'agent')) {
    const own = nodeSteps(lab, agent, agent.exists ? gate : servers, around);
    steps.push(...own);
    if (agent.exists && own.length > 0) gate = lastOf(own);
  }
  return {
    steps: [...steps, ...kubeconfigStep(lab, seen, work)],
    notes: [
      ...[...k3sNotes(lab, seen, limit), ...guarded.notes],
      ...[...unsavedNotes(work, snapshot, copies), ...emptiedNotes(seen, work, limit)],
    ],
  };
}

/** Official, and immutable for a version: the repository's file under the version's tag. */
export function scriptUrl(version: string): string {
  return `https://raw.githubusercontent.com/k3s-io/k3s/${version.replaceAll('+', '%2B')}/install.sh`;
}

/** Where the install script of the wanted version is on this machine. */
export function scriptFile(lab: Pick<Lab, 'config' | 'paths'>): string {
  const given = localFiles(lab).find(({ what }) => what === 'script');
  if (given) return given.path;
  return `${lab.paths.state}/downloads/k3s-install-${lab.config.k3s.version}.sh`;
}

/** The owner's kubeconfig. */
export function kubeconfigFile(lab: Lab): string {
  return `${lab.paths.state}/kubeconfig`;
}

/**
 * Members that are down come first: they may be the majority that the others need. Then new ones, so that there are
 * more when those that run restart; but where another version is on its way, or what servers must have in common
 * changes, new ones come last: they would not fit yet. The first server is first among equals.
 */
function inTurn(lab: Lab, seen: SeenK3s): NodeWork[] {
  const all = lab.config.k3s.nodes.map((node) => workOn(lab, seen, node));
  const newLast = all.some(({ node, upgrade }) => node.role === 'server' && upgrade) || differsInServicelb(lab, seen);
  const rank = ({ node, reset }: NodeWork): number => {
    if (node.role === 'agent') return 10;
    if (reset) return 0;
    const { etcdData, units } = factsOf(seen, node.name);
    const turn = etcdData ? (units.k3s?.state === 'active' ? 4 : 1) : newLast ? 6 : 2;
    return turn + (node.name === lab.config.k3s.first_server ? 0 : 0.5);
  };
  return all.sort((a, b) => rank(a) - rank(b));
}

function tokenStep(lab: Lab, seen: SeenK3s, work: NodeWork[]): Step[] {
  if (seen.tokenHash || !work.some(({ config }) => config)) return [];
  const server = adoptable(lab, seen);
  if (!server)
    return [
      {
        id: 'token',
        title: 'make the token of the cluster',
        why: 'absent',
        action: { kind: 'secret', name: TOKEN, bytes: 32 },
      },
    ];
  return [
    {
      id: 'token',
      title: `take over the token of the cluster from ${server}`,
      why: 'it is not in .state',
      action: { kind: 'operation', name: 'adopt-token', args: { server }, deadline: 60 },
    },
  ];
}

function scriptStep(lab: Lab, seen: SeenK3s, work: NodeWork[]): Step[] {
  const { version } = lab.config.k3s;
  if (lab.config.k3s.airgap?.script) return [];
  const url = scriptUrl(version);
  const pinned = lab.lock.downloads[url];
  const wanting = work.filter(({ install }) => install).map(({ node }) => node.name);
  if (wanting.length === 0 || (pinned && seen.scriptHash === pinned)) return [];
  return [
    {
      id: 'install-script',
      title: `fetch the install script of K3s ${version}`,
      why: `${wanting.join(', ')} ${wanting.length === 1 ? 'needs' : 'need'} it`,
      action: { kind: 'download', url, to: scriptFile(lab), deadline: 120 },
    },
  ];
}

/** A kubeconfig for the person, in .state: ~/.kube/config is theirs. */
function kubeconfigStep(lab: Lab, seen: SeenK3s, work: NodeWork[]): Step[] {
  const servers = work.filter(({ node }) => node.role === 'server');
  const source = servers.find(({ node }) => node.name === lab.config.k3s.first_server) ?? servers[0];
  if (!source) return [];
  const server = source.node.name;
  const { kubeconfigHash: sha256 } = factsOf(seen, server);
  const address = addressOf(lab, server);
  const header = sha256 && kubeconfigHeader({ server, sha256, address, lab: lab.config.name });
  const why = ((): string | undefined => {
    if (!seen.kubeconfig) return 'absent';
    // A start may make new client certificates.
    if (source.start || seen.kubeconfig.header !== header) return `${server} has another one`;
    return seen.kubeconfig.mode === 0o600 ? undefined : 'others can read it';
  })();
  if (!why) return [];
  return [
    {
      id: 'kubeconfig',
      title: `fetch a kubeconfig into ${shownPath(lab, kubeconfigFile(lab))}`,
      why,
      after: source.ready ? [`${server}/ready`] : [],
      action: { kind: 'operation', name: 'fetch-kubeconfig', args: { server, address }, deadline: 60 },
    },
  ];
}

/** What the next node waits for: the end of this one. */
function lastOf(steps: Step[]): string[] {
  const after = new Set(steps.flatMap((step) => step.after ?? []));
  return steps.filter(({ id }) => !after.has(id)).map(({ id }) => id);
}

function idsOf(steps: Step[]): string[] {
  return steps.map(({ id }) => id);
}
