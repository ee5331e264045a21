import type { Lab } from '../lab-context.ts';
import {
  asideCommand,
  JOIN_FILE,
  joinText,
  keptFolder,
  RESET_SECONDS,
  RESTORE_FOLDER,
  resetCommand,
} from '../render/etcd-restore.ts';
import { registration } from '../render/k3s-config.ts';
import type { Step } from '../step.ts';
import type { RestoreCourse } from './etcd-restore.ts';
import type { RestoreSeen } from './etcd-restore-seen.ts';
import { factsOf, parseConfig } from './k3s-join.ts';
import { nfsClientSteps } from './nfs-client.ts';

/** Seconds that a node has to get Ready. */
const READY = 600;
/** Seconds that an agent has to come back by itself, before it is restarted. */
const PATIENCE = 60;

type Fetch = { argv: string[]; stdin?: string; from: string };

/** The steps of a restore, one after another: whatever fails, nothing that comes after it is begun. */
export function restoreSteps(lab: Lab, seen: RestoreSeen, course: RestoreCourse, fetch: Fetch): Step[] {
  const { id, source, target, others, done } = course;
  const about = { id, snapshot: source.name, target };
  const steps: Step[] = [];
  let gate: string[] = [];
  const why = `${source.name} is restored`;
  const step = (host: string, part: string, title: string, action: Step['action'], more: Partial<Step> = {}): Step => ({
    id: `${host}/${part}`,
    ...{ title, why, host, after: gate },
    ...more,
    action,
  });
  const add = (...made: Step[]): void => {
    steps.push(...made);
    if (made.length > 0) gate = made.map((one) => one.id);
  };
  const remote = (host: string, argv: string[], deadline: number, stdin?: string): Step['action'] => ({
    ...{ kind: 'remote', host, argv, sudo: true, deadline },
    ...(stdin === undefined ? {} : { stdin }),
  });
  const runs = (host: string): boolean =>
    ['active', 'activating'].includes(factsOf(seen.k3s, host).units.k3s?.state ?? '');
  const isEnabled = (host: string): boolean => factsOf(seen.k3s, host).units.k3s?.enabled ?? false;
  // Who must be asked is asked by the first step that takes something away from a server.
  let lost = losses(seen, course);
  const destroying = (made: Step): Step => {
    const destroys = lost;
    lost = [];
    return destroys.length > 0 ? { ...made, destroys } : made;
  };
  const stop = (host: string): Step =>
    destroying(
      step(
        host,
        'stop',
        'stop k3s, and keep it from starting with the machine',
        remote(host, ['systemctl', 'disable', '--now', 'k3s'], 180),
      ),
    );
  const aside = (host: string): Step => {
    const { argv, stdin } = asideCommand(about, host === target ? 'is reset' : 'joins');
    return destroying(step(host, 'aside', `move its data to ${keptFolder(id)}`, remote(host, argv, 60, stdin)));
  };
  const enable = (host: string): Step =>
    step(host, 'enable', 'let k3s start with the machine again', remote(host, ['systemctl', 'enable', 'k3s'], 60));
  const start = (host: string): Step =>
    step(host, 'start', 'start k3s', remote(host, ['systemctl', 'start', '--no-block', 'k3s'], 60));
  const ready = (host: string): Step =>
    step(host, 'ready', 'wait until it is Ready', {
      ...{ kind: 'operation', name: 'node-ready', deadline: READY + 30 },
      args: { node: host, unit: 'k3s', server: true, version: factsOf(seen.k3s, host).version ?? '', seconds: READY },
    });

  const isReset = done[target] === 'reset';
  if (!isReset) {
    const client = seen.snapshots.servers[target];
    if (source.from === 'nas' && client?.ok && !client.value.nfsClient)
      for (const one of nfsClientSteps(target, why)) add({ ...one, after: gate });
    add(
      step(
        target,
        'fetch',
        `bring ${source.name} from ${fetch.from}, and compare it`,
        remote(target, fetch.argv, 900, fetch.stdin),
      ),
    );
  }
  // Whoever went on with the old data, now or when its machine boots, would be another cluster by the same name.
  const stopped = [...(isReset ? [] : [target]), ...others.filter((name) => !done[name])].filter(
    (name) => runs(name) || isEnabled(name),
  );
  add(...stopped.map(stop));
  const bringUp = (host: string): void => {
    if (stopped.includes(host) || !isEnabled(host)) add(enable(host));
    if (stopped.includes(host) || !runs(host)) add(start(host));
  };
  if (!isReset) {
    if (done[target] !== 'aside') add(aside(target));
    const { argv, stdin } = resetCommand(about);
    add(
      destroying(
        step(
          target,
          'reset',
          'k3s server --cluster-reset, with the snapshot',
          remote(target, argv, RESET_SECONDS + 60, stdin),
        ),
      ),
    );
  }
  bringUp(target);
  add(
    step(target, 'api', 'wait until its API is ready', {
      ...{ kind: 'wait', deadline: READY },
      for: { host: target, argv: ['k3s', 'kubectl', 'get', '--raw', '/readyz'], sudo: true },
    }),
  );
  const forget = forgetPasswords(lab, target);
  if (forget)
    add(
      step(
        target,
        'passwords',
        'let the other nodes in by the passwords that they have now',
        remote(target, forget, 60),
      ),
    );
  add(ready(target));
  for (const name of others) {
    if (!done[name]) add(aside(name));
    const foreign = joinsElsewhere(lab, seen, name, target);
    if (foreign)
      add(
        step(name, 'join', `write ${JOIN_FILE}: it joins ${target}`, {
          ...{ kind: 'upload', host: name, path: JOIN_FILE, content: joinText(registration(lab, target)) },
          ...{ mode: '0600', owner: 'root:root' },
        }),
      );
    bringUp(name);
    add(ready(name));
  }
  add(...agents(lab, seen).map((name) => agentStep(name, seen, step)));
  const tidy = (name: string): Step =>
    step(name, 'tidy', 'remove what the restore needed', remote(name, ['rm', '-rf', RESTORE_FOLDER, JOIN_FILE], 60));
  // The target's state is what a later run goes by: it goes last.
  add(...others.map(tidy));
  add(tidy(target));
  return steps;
}

/** What the person must know before it is gone. */
function losses({ k3s }: RestoreSeen, { id, source, target, others, done }: RestoreCourse): string[] {
  if (done[target] === 'reset') {
    const names = others.filter((name) => !done[name]);
    return names.length > 0
      ? [`what ${names.join(', ')} had beside the restored cluster; the data is kept, in ${keptFolder(id)}`]
      : [];
  }
  const taken = new Date(source.time * 1000).toISOString();
  const nodes = k3s.cluster.answers ? ` (nodes now: ${k3s.cluster.nodes.map(({ name }) => name).join(', ')})` : '';
  return [
    `everything in the cluster that was made, changed or deleted since ${taken}: objects, Secrets, certificates${nodes}`,
    'what the cluster knows of volumes that came later; their data stays where it is',
  ];
}

/**
 * A node that was made anew after the snapshot has another password than the snapshot knows, and would be rejected, at
 * once or at its next start. K3s notes the one that it comes with.
 */
function forgetPasswords({ config }: Lab, target: string): string[] | undefined {
  const others = config.k3s.nodes.filter(({ name }) => name !== target);
  if (others.length === 0) return undefined;
  const secrets = others.map(({ name }) => `${name}.node-password.k3s`);
  return ['k3s', 'kubectl', 'delete', 'secret', '-n', 'kube-system', '--ignore-not-found', ...secrets];
}

/** Whether a server without data would start a cluster of its own, or join one that is not up yet. */
function joinsElsewhere(lab: Lab, seen: RestoreSeen, name: string, target: string): boolean {
  const config = parseConfig(factsOf(seen.k3s, name).config);
  return config['cluster-init'] === true || config.server !== registration(lab, target);
}

function agents(lab: Lab, { k3s }: RestoreSeen): string[] {
  return lab.config.k3s.nodes
    .filter(({ name, role }) => role === 'agent' && factsOf(k3s, name).units['k3s-agent'])
    .map(({ name }) => name);
}

function agentStep(
  name: string,
  { k3s }: RestoreSeen,
  step: (host: string, part: string, title: string, action: Step['action']) => Step,
): Step {
  return step(name, 'back', 'wait until it is back; restart it if it does not come by itself', {
    ...{ kind: 'operation', name: 'agent-back', deadline: PATIENCE + READY + 60 },
    args: {
      node: name,
      unit: 'k3s-agent',
      version: factsOf(k3s, name).version ?? '',
      patience: PATIENCE,
      seconds: READY,
    },
  });
}
