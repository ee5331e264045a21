import { quorum } from '../config/quorum.ts';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import { keptFolder } from '../render/etcd-restore.ts';
import { snapshotPlace } from '../render/etcd-snapshots.ts';
import { TOKEN } from '../render/k3s-config.ts';
import type { Note } from '../step.ts';
import type { RestoreArgs, RestoreCourse } from './etcd-restore.ts';
import type { RestoreSeen, Source } from './etcd-restore-seen.ts';
import { age } from './etcd-snapshots-seen.ts';
import { areApart } from './k3s-cluster-problems.ts';
import { factsOf } from './k3s-join.ts';

/** Where K3s keeps snapshots on a server. */
export const LOCAL = '/var/lib/rancher/k3s/server/db/snapshots';

/** Where a snapshot is, for a person. */
export function placeOf(lab: Lab, source: Source): string {
  return source.from === 'nas' ? `${snapshotPlace(lab)}/${source.server}` : `${source.server}:${LOCAL}`;
}

/** What stands in the way of a restore, and what the owner should know. */
export function restoreNotes(lab: Lab, seen: RestoreSeen, args: RestoreArgs, course: RestoreCourse): Note[] {
  return [...problems(lab, seen, args, course), ...remarks(lab, seen, args, course)];
}

/** What stands in the way. */
function problems(lab: Lab, seen: RestoreSeen, { without }: RestoreArgs, course: RestoreCourse): Note[] {
  const { target, source } = course;
  const notes: Note[] = [];
  const blocker = (text: string, fix: string, waitsFor?: Note['waitsFor']): number =>
    notes.push({ level: 'blocker', text, fix, waitsFor });
  for (const { name } of servers(lab.config)) {
    const host = seen.k3s.hosts[name];
    const k3s = factsOf(seen.k3s, name).units.k3s;
    if (without.includes(name) && k3s && (k3s.enabled || !['inactive', 'failed'].includes(k3s.state)))
      blocker(
        `--without ${name}: it answers, and has K3s, which would go on with the data of now`,
        'leave --without out: its data is moved aside, and it joins the others',
      );
    if (host?.reachable || without.includes(name)) continue;
    blocker(
      `${name} is not reachable: ${host?.reason ?? 'it was not looked at'}; if its K3s runs, it goes on with the data of now`,
      `start it, or mend its SSH; when it is gone for good: --without ${name}`,
    );
  }
  for (const name of strangers(lab, seen, course))
    blocker(
      `${name} is a server of the cluster, and homelab.yaml has no such server: it would go on with the data of now`,
      `add it to k3s.nodes; or take it out: npx tsx scripts/remove-node.ts ${name}`,
    );
  for (const name of ownClusters(seen, course))
    blocker(
      `k3s on ${name} was started meanwhile, and is a cluster beside the restored one`,
      `\`sudo systemctl disable --now k3s\` on it, move /var/lib/rancher/k3s/server/db away, and run this again: it joins ${target}`,
    );
  for (const name of [target, ...course.others])
    for (const file of seen.traces[name]?.dataDir ?? [])
      blocker(
        `${file} on ${name} sets data-dir: etcd's data is not where it is looked for`,
        'restore by hand, as docs.k3s.io/cli/etcd-snapshot has it; or take data-dir out, with the data in /var/lib/rancher/k3s',
      );
  for (const name of [target, ...course.others])
    for (const folder of seen.traces[name]?.disks ?? [])
      blocker(
        `${folder} on ${name} is a disk of its own: moved aside, it would be mounted over what is restored when ${name} boots`,
        'restore by hand, as docs.k3s.io/cli/etcd-snapshot has it',
      );
  if (!seen.k3s.hosts[target]?.reachable) return notes;
  const facts = factsOf(seen.k3s, target);
  const place = placeOf(lab, source);
  const putToken = `put the part after "::server:" of ${place}/${source.name}.token into ${lab.paths.secrets}/${TOKEN} (mode 0600)`;
  const wanted = seen.tokenHash?.ok ? seen.tokenHash.value : undefined;
  if (!facts.units.k3s)
    blocker(
      `K3s is not installed on ${target}`,
      // With a token of its own it could not read the snapshot, and would have to go again.
      `${wanted !== undefined && wanted !== seen.k3s.tokenHash ? `first ${putToken}; then ` : ''}run install-k3s: it makes an empty cluster`,
      'install-k3s',
    );
  if (source.from === 'server' && source.server !== target)
    blocker(`${source.name} lies on ${source.server} only`, `restore it there, or take one that is on the NAS`);
  if (seen.tokenHash?.ok === false)
    blocker(`the token of ${source.name} cannot be read: ${seen.tokenHash.reason}`, 'see that the NAS can be mounted');
  else if (facts.tokenHash && seen.tokenHash?.ok && seen.tokenHash.value !== facts.tokenHash)
    blocker(
      `${source.name} is of a cluster with another token than ${target} has: K3s could not read it`,
      `run uninstall-k3s, ${putToken}, run install-k3s, and this again`,
    );
  return notes;
}

/** Members of etcd that homelab.yaml does not name are not stopped. Of the restored cluster they are only remembered. */
function strangers(lab: Lab, { k3s: { cluster } }: RestoreSeen, { target, done }: RestoreCourse): string[] {
  if (!cluster.answers || done[target] === 'reset') return [];
  const own = servers(lab.config).map(({ name }) => name);
  return cluster.nodes.filter((node) => node.member && node.ready && !own.includes(node.name)).map(({ name }) => name);
}

/** Whose data was moved aside, and who did not join the restored cluster, but began one: its data is not moved again. */
function ownClusters({ k3s: { views = {} } }: RestoreSeen, { target, others, done }: RestoreCourse): string[] {
  const restored = views[target];
  if (done[target] !== 'reset' || !restored) return [];
  return others.filter((name) => {
    const own = done[name] && views[name];
    return own && areApart([target, restored], [name, own]);
  });
}

/** What the owner should know. */
function remarks(lab: Lab, seen: RestoreSeen, { without }: RestoreArgs, course: RestoreCourse): Note[] {
  const { target, others, source, done, id } = course;
  const fresh = servers(lab.config)
    .map(({ name }) => name)
    .filter((name) => name !== target && !others.includes(name) && !without.includes(name))
    .filter((name) => seen.k3s.hosts[name]?.reachable);
  const notes: Note[] = [];
  if (done[target] !== 'reset')
    notes.push(
      {
        level: 'info',
        text: `${source.name} is ${age(seen.snapshots.now - source.time)} old, taken on ${source.server}; it comes from ${placeOf(lab, source)}`,
      },
      {
        level: 'info',
        text: `the API does not answer meanwhile; the data of now is kept, in ${keptFolder(id)} on ${[target, ...others].join(', ')}; until a server is back, K3s does not start with its machine`,
      },
    );
  if (Object.keys(done).length > 0)
    notes.push({ level: 'info', text: `an earlier run began this restore (${id}); what is done is left out` });
  if (fresh.length > 0)
    notes.push({
      level: 'info',
      text: `${fresh.join(', ')} ${fresh.length === 1 ? 'has' : 'have'} no K3s, and ${fresh.length === 1 ? 'is' : 'are'} left out`,
      fix: 'run install-k3s afterwards: it joins them',
    });
  const { needed } = quorum(servers(lab.config).length);
  if (without.length >= needed)
    notes.push({
      level: 'warning',
      text: `${without.join(', ')} are left out, and have a majority: were they to come back with their old data, they would be the cluster of before, beside the restored one`,
      fix: 'see that they never start as they are: destroy their VMs, or delete their disks, before this',
    });
  else
    for (const name of without)
      notes.push({
        level: 'warning',
        text: `${name} is left out: were it to come back with its old data, it could not join`,
        fix: `npx tsx scripts/remove-node.ts ${name}, then install-k3s, brings it back`,
      });
  return notes;
}
