import { createHash } from 'node:crypto';
import { UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import {
  errandCommand,
  etcdSnapshotsOf,
  intervalHours,
  SAVE_DEADLINE,
  SCHEDULED,
  SNAPSHOT_CRON,
  SNAPSHOT_SCRIPT,
  snapshotCron,
  snapshotPlace,
} from '../render/etcd-snapshots.ts';
import type { Note, Plan, Step } from '../step.ts';
import { suggestion } from '../suggest.ts';
import { isOfLater, newestOf, type ServerSnapshots, type SnapshotsSeen } from './etcd-snapshots-seen.ts';

/**
 * The script and its cron file on every server, and a snapshot now where the NAS has none of that server that is young
 * enough. Without `k3s.etcd_snapshots` what an earlier run has put there is taken away; snapshots stay.
 * @param script the text of templates/etcd-snapshots.sh
 */
export function planInstallSnapshots(lab: Lab, seen: SnapshotsSeen, script: string): Plan {
  if (!lab.config.k3s.etcd_snapshots) return planLeftovers(seen);
  const notes: Note[] = [];
  const steps: Step[] = [];
  const asked = servers(lab.config).map(({ name }) => ({ name, answer: seen.servers[name] }));
  for (const { name, answer } of asked) {
    const obstacle = obstacleOf(name, answer) ?? cronless(name, answer);
    if (obstacle) notes.push({ level: 'blocker', host: name, ...obstacle });
    if (!answer?.ok) continue;
    const { lastRun } = answer.value;
    if (lastRun && lastRun.code !== 0)
      notes.push({
        level: 'warning',
        host: name,
        text: `the last snapshot of ${name} that was to go to the NAS failed: ${lastRun.said || 'it was ended'}`,
        fix: `npx tsx scripts/etcd-snapshot.ts save --server ${name} tries it now`,
      });
    steps.push(...installSteps(lab, seen, name, answer.value, script));
  }
  // Of a server that could not do it anyway is told already.
  if (seen.nas?.ok === false && !notes.some(({ level }) => level === 'blocker'))
    notes.push({
      level: 'blocker',
      text: `${snapshotPlace(lab)} cannot be reached: ${seen.nas.reason}`,
      fix: 'run setup-nfs: it says what to enter at the NAS, and proves who can mount it',
      waitsFor: 'setup-nfs',
    });
  return { steps, notes };
}

/** Hours after which a snapshot is too old: one may fail, two in a row may not. */
export function staleAfter(lab: Pick<Lab, 'config'>, now: number): number {
  return 2 * intervalHours(etcdSnapshotsOf(lab).schedule, now);
}

/** Why the NAS has no snapshot of a server that is young enough; undefined: it has one. */
export function staleness(lab: Pick<Lab, 'config'>, { nas, now }: SnapshotsSeen, server: string): string | undefined {
  if (!nas?.ok) return undefined;
  const newest = newestOf(nas.value, server, now);
  if (!newest) return 'there is none of it';
  // It would look young for as long as the clock was ahead.
  if (isOfLater(newest, now)) return 'its are dated in the future: is its clock right?';
  const hours = (now - newest.time) / 3600;
  return hours > staleAfter(lab, now) ? `the newest is ${Math.floor(hours)} hours old` : undefined;
}

function installSteps(
  lab: Lab,
  seen: SnapshotsSeen,
  name: string,
  { script: installed, cron }: ServerSnapshots,
  script: string,
): Step[] {
  const steps: Step[] = [];
  const wanted = snapshotCron(lab, name);
  const add = (part: string, title: string, why: string, action: Step['action'], lane?: string): void => {
    const after = steps.map(({ id }) => id);
    steps.push({ id: `${name}/${part}`, title, why, host: name, after, lane, action });
  };
  const file = (path: string, content: string, mode: string): Step['action'] => ({
    ...{ kind: 'upload', host: name, path, content, mode, owner: 'root:root' },
  });
  if (installed !== createHash('sha256').update(script).digest('hex'))
    add(
      'script',
      `write ${SNAPSHOT_SCRIPT}`,
      installed ? 'it is another one' : 'absent',
      file(SNAPSHOT_SCRIPT, script, '0755'),
    );
  const stale = staleness(lab, seen, name);
  if (stale)
    add(
      'snapshot',
      `take a snapshot of etcd, and bring it to ${snapshotPlace(lab)}`,
      stale,
      saveAction(lab, name, script),
      'etcd-snapshot',
    );
  if (cron !== wanted)
    add(
      'cron',
      `write ${SNAPSHOT_CRON}`,
      cron === undefined ? 'absent' : 'it says something else',
      file(SNAPSHOT_CRON, wanted, '0644'),
    );
  return steps;
}

function saveAction(lab: Lab, node: string, script: string, name?: string): Step['action'] {
  return {
    ...{
      kind: 'remote',
      host: node,
      argv: errandCommand(lab, { kind: 'save', node, name }),
      stdin: script,
      sudo: true,
    },
    deadline: SAVE_DEADLINE,
  };
}

type Obstacle = Pick<Note, 'text' | 'fix' | 'waitsFor'>;

function obstacleOf(name: string, answer: SnapshotsSeen['servers'][string] | undefined): Obstacle | undefined {
  if (!answer?.ok)
    return {
      text: `${name} is not reachable: ${answer?.reason ?? 'it was not looked at'}`,
      ...{ fix: 'run provision first', waitsFor: 'provision' },
    };
  const { unit, nfsClient } = answer.value;
  if (unit === undefined)
    return { text: `K3s is not installed on ${name}`, fix: 'run install-k3s first', waitsFor: 'install-k3s' };
  if (unit !== 'active')
    return {
      text: `k3s on ${name} is ${unit}: there is nothing to take a snapshot of`,
      ...{ fix: 'run install-k3s: it starts it, or says why it cannot', waitsFor: 'install-k3s' },
    };
  if (!nfsClient)
    return { text: `${name} has no NFS client (nfs-common)`, fix: 'run setup-nfs first', waitsFor: 'setup-nfs' };
  return undefined;
}

function cronless(name: string, answer: SnapshotsSeen['servers'][string] | undefined): Obstacle | undefined {
  if (!answer?.ok || answer.value.cronRuns) return undefined;
  return {
    text: `cron does not run on ${name}: nothing would take snapshots`,
    fix: `sudo apt-get install cron, sudo systemctl enable --now cron, on ${name}`,
  };
}

/** What lies on servers although homelab.yaml has no `k3s.etcd_snapshots` any more. */
function planLeftovers({ servers: seen }: SnapshotsSeen): Plan {
  const steps = Object.entries(seen).flatMap(([name, answer]): Step[] => {
    if (!answer.ok || (answer.value.cron === undefined && answer.value.script === undefined)) return [];
    return [
      {
        id: `${name}/remove`,
        title: `remove ${SNAPSHOT_CRON} and ${SNAPSHOT_SCRIPT}`,
        why: 'homelab.yaml has no k3s.etcd_snapshots any more',
        host: name,
        action: {
          ...{ kind: 'remote', host: name, argv: ['rm', '-f', SNAPSHOT_CRON, SNAPSHOT_SCRIPT], sudo: true },
          deadline: 60,
        },
      },
    ];
  });
  const text = 'homelab.yaml has no k3s.etcd_snapshots: snapshots of etcd stay on the servers, and are lost with them';
  return { steps, notes: [{ level: 'info', text }] };
}

/**
 * One snapshot now, on one server, brought to the NAS.
 * @param name what it is called; a snapshot that a person names is never pruned
 * @throws UsageError for a name or a server that cannot be
 */
export function planSaveSnapshot(
  lab: Lab,
  seen: SnapshotsSeen,
  script: string,
  { name, server }: { name?: string; server?: string },
): Plan {
  etcdSnapshotsOf(lab);
  const known = servers(lab.config).map((node) => node.name);
  if (server !== undefined && !known.includes(server))
    throw new UsageError(`there is no server "${server}"`, { fix: suggestion(server, known) });
  if (name !== undefined && !/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
    throw new UsageError(`"${name}" cannot be the name of a snapshot`, {
      fix: 'use letters, digits, ".", "_" and "-"; K3s adds the server and the time',
    });
  if (name === SCHEDULED)
    throw new UsageError(`"${name}" is what scheduled snapshots are called: yours would be pruned like one of them`, {
      fix: 'give it another name, which is never pruned; or none, for one more of the schedule',
    });
  const obstacles = new Map(known.map((one) => [one, obstacleOf(one, seen.servers[one])]));
  const from = server ?? known.find((one) => !obstacles.get(one));
  const obstacle = from === undefined ? obstacles.get(known[0] ?? '') : obstacles.get(from);
  if (from === undefined || obstacle)
    return { steps: [], notes: [{ level: 'blocker', ...(obstacle ?? { text: 'there is no server' }) }] };
  const called = name === undefined ? `${SCHEDULED}-…` : `${name}-…, which is not pruned`;
  return {
    steps: [
      {
        id: `${from}/snapshot`,
        title: `take a snapshot of etcd, and bring it to ${snapshotPlace(lab)} (${called})`,
        why: 'asked for',
        host: from,
        action: saveAction(lab, from, script, name),
      },
    ],
    notes: [],
  };
}
