import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { addressOf } from '../lookup.ts';
import { TOKEN } from '../render/k3s-config.ts';
import { kubeconfigHeader } from '../render/kubeconfig.ts';
import type { Plan, Step } from '../step.ts';
import { factsOf } from './k3s-join.ts';
import { type NodeWork, nodeSteps, workOn } from './k3s-node.ts';
import { adoptable, k3sNotes } from './k3s-problems.ts';
import type { SeenK3s } from './k3s-seen.ts';
import { shownPath } from './shown-path.ts';

/**
 * Servers one after another (etcd takes one learner at a time, and a member that restarts must be back before
 * the next goes), then agents: new ones side by side, existing ones one by one. What needs nothing has no step.
 */
export function planK3s(lab: Lab, seen: SeenK3s): Plan {
  const work = inTurn(lab, seen).map((node) => workOn(lab, seen, node));
  const token = tokenStep(lab, seen, work);
  const script = scriptStep(lab, seen, work);
  const has = { token: idsOf(token), script: idsOf(script), file: scriptFile(lab) };
  const steps: Step[] = [...token, ...script];

  let gate: string[] = [];
  for (const server of work.filter(({ node }) => node.role === 'server')) {
    const own = nodeSteps(lab, server, gate, has);
    steps.push(...own);
    if (own.length > 0) gate = lastOf(own);
  }
  const servers = gate;
  for (const agent of work.filter(({ node }) => node.role === 'agent')) {
    const own = nodeSteps(lab, agent, agent.exists ? gate : servers, has);
    steps.push(...own);
    if (agent.exists && own.length > 0) gate = lastOf(own);
  }
  return { steps: [...steps, ...kubeconfigStep(lab, seen, work)], notes: k3sNotes(lab, seen) };
}

/** Official, and immutable for a version: the repository's file under the version's tag. */
export function scriptUrl(version: string): string {
  return `https://raw.githubusercontent.com/k3s-io/k3s/${version.replaceAll('+', '%2B')}/install.sh`;
}

/** Where the install script of the wanted version is kept on this machine. */
export function scriptFile(lab: Lab): string {
  return `${lab.paths.state}/downloads/k3s-install-${lab.config.k3s.version}.sh`;
}

/** The owner's kubeconfig. */
export function kubeconfigFile(lab: Lab): string {
  return `${lab.paths.state}/kubeconfig`;
}

/** Members that are down come first, then those that run, then new ones; the first server first among equals. */
function inTurn(lab: Lab, seen: SeenK3s): K3sNode[] {
  const rank = ({ name, role }: K3sNode): number => {
    if (role === 'agent') return 10;
    const { etcdData, units } = factsOf(seen, name);
    const turn = !etcdData ? 4 : units.k3s?.state === 'active' ? 2 : 0;
    return turn + (name === lab.config.k3s.first_server ? 0 : 1);
  };
  return [...lab.config.k3s.nodes].sort((a, b) => rank(a) - rank(b));
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
