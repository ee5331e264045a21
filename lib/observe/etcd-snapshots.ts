import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import { TOOLKIT } from '../paths.ts';
import {
  type NasSnapshot,
  type ServerSnapshots,
  type Snapshot,
  type SnapshotsSeen,
  timeInName,
} from '../plan/etcd-snapshots-seen.ts';
import type { Answer, Outcome, Readers, SshReader } from '../ports/types.ts';
import {
  type Errand,
  errandCommand,
  SNAPSHOT_CRON,
  SNAPSHOT_SCRIPT,
  SNAPSHOT_STATE,
} from '../render/etcd-snapshots.ts';
import { readPatiently } from './k3s.ts';

/** templates/etcd-snapshots.sh */
export function snapshotScript(): string {
  return readFileSync(join(TOOLKIT, 'templates/etcd-snapshots.sh'), 'utf8');
}

/** Each server in one round trip, and the NAS through one of them. */
export async function observeSnapshots(
  lab: Lab,
  { ssh, clock }: Pick<Readers, 'ssh' | 'clock'>,
): Promise<SnapshotsSeen> {
  const names = servers(lab.config).map(({ name }) => name);
  const [facts, nas] = await Promise.all([
    Promise.all(names.map(async (name) => [name, await readServer(name, ssh)] as const)),
    lab.config.k3s.etcd_snapshots && readNas(lab, ssh),
  ]);
  return { now: Math.floor(clock.now().getTime() / 1000), servers: Object.fromEntries(facts), nas };
}

/** Hosts that are tried, where one is denied what the next may have. */
const ASKED = 3;

/**
 * What lies on the NAS. It is mounted for that, on a mount point of its own, and unmounted: by the first host that can
 * do it, servers first. A NAS that does not answer one of them is not asked by another, which would wait as long.
 */
export async function readNas(lab: Lab, ssh: SshReader): Promise<Answer<NasSnapshot[]>> {
  const { nodes } = lab.config.k3s;
  const inTurn = [...nodes].sort((a, b) => Number(a.role === 'agent') - Number(b.role === 'agent'));
  const reasons: string[] = [];
  for (const { name } of inTurn.slice(0, ASKED)) {
    const answer = await askNas(lab, ssh, name, { kind: 'list' });
    if (answer.ok) return { ok: true, value: parseNas(answer.value) };
    reasons.push(`${name}: ${answer.reason}`);
    if (/mount .*(timed out|no answer|no route|unreachable)/i.test(answer.reason)) break;
  }
  return { ok: false, reason: reasons.join('; ') };
}

/** What the script says on a host, for errands that only look. */
export async function askNas(lab: Lab, ssh: SshReader, host: string, errand: Errand): Promise<Answer<string>> {
  const options = { stdin: snapshotScript(), sudo: true, deadline: 180 };
  const answer = await readPatiently(ssh, host, errandCommand(lab, errand), options);
  if (!answer.ok) return answer;
  return answer.value.code === 0
    ? { ok: true, value: answer.value.stdout }
    : { ok: false, reason: words(answer.value) };
}

function words({ stderr, code }: Outcome): string {
  const [last = ''] = stderr.trim().split('\n').slice(-1);
  return last.replace(/^homelab-etcd-snapshots: /, '') || `exit code ${code}`;
}

/** Lines "SERVER/NAME BYTES SECONDS", a snapshot's SHA-256 and token among them. */
export function parseNas(stdout: string): NasSnapshot[] {
  const files = stdout.split('\n').flatMap((line) => {
    const [, server = '', name = '', bytes, seconds] = /^([^/]+)\/([^/]+) (\d+) (\d+)/.exec(line) ?? [];
    return name ? [{ server, name, bytes: Number(bytes), seconds: Number(seconds) }] : [];
  });
  const beside = new Set(files.map(({ server, name }) => `${server}/${name}`));
  return files
    .filter(({ name }) => !/\.(sha256|token)$/.test(name))
    .map(({ server, name, bytes, seconds }) => ({
      ...{ server, name, bytes, time: timeOf(name, seconds) },
      whole: ['sha256', 'token'].every((kind) => beside.has(`${server}/${name}.${kind}`)),
    }));
}

/** Of files whose names do not tell, their own time has to do. */
function timeOf(name: string, seconds: number): number {
  return timeInName(name) ?? seconds;
}

const FACTS = `LC_ALL=C
export LC_ALL
say() { printf '%s=%s\\n' "$1" "$2"; }
if [ -f ${SNAPSHOT_SCRIPT} ]; then say script "$(sha256sum < ${SNAPSHOT_SCRIPT} | cut -d ' ' -f 1)"; fi
if [ -f ${SNAPSHOT_CRON} ]; then say cron "$(base64 < ${SNAPSHOT_CRON} | tr -d '\\n')"; fi
if [ -f ${SNAPSHOT_STATE} ]; then say state "$(base64 < ${SNAPSHOT_STATE} | tr -d '\\n')"; fi
say nfs "$(dpkg-query -W -f='\${Status}' nfs-common 2>/dev/null)"
say daemon "$(systemctl is-active cron 2>/dev/null)"
if [ -f /etc/systemd/system/k3s.service ]; then say unit "$(systemctl is-active k3s 2>/dev/null)"; fi
snapshots=/var/lib/rancher/k3s/server/db/snapshots
if [ -d "$snapshots" ]; then find "$snapshots/" -maxdepth 1 -type f -printf 'local=%f %s %T@\\n'; fi
say end yes
`;

async function readServer(name: string, ssh: SshReader): Promise<Answer<ServerSnapshots>> {
  const answer = await readPatiently(ssh, name, ['sh', '-s'], { stdin: FACTS, sudo: true, deadline: 60 });
  if (!answer.ok) return answer;
  const value = parseServer(answer.value.stdout);
  return value
    ? { ok: true, value }
    : { ok: false, reason: `it answers, and cannot be looked at: ${words(answer.value)}` };
}

/** What the script printed, or undefined when it did not come to its end. */
export function parseServer(stdout: string): ServerSnapshots | undefined {
  const said = stdout.split('\n').map((line): [string, string] => {
    const at = line.indexOf('=');
    return [line.slice(0, at), line.slice(at + 1)];
  });
  const text = (key: string): string | undefined => said.find(([one]) => one === key)?.[1];
  const decoded = (key: string): string | undefined => {
    const value = text(key);
    return value === undefined ? undefined : Buffer.from(value, 'base64').toString();
  };
  if (text('end') === undefined) return undefined;
  return {
    script: text('script'),
    cron: decoded('cron'),
    lastRun: parseState(decoded('state')),
    nfsClient: text('nfs')?.includes('ok installed') ?? false,
    cronRuns: text('daemon') === 'active',
    unit: text('unit'),
    local: said.flatMap(([key, value]): Snapshot[] => {
      const [, name = '', bytes, seconds] = (key === 'local' && /^(\S+) (\d+) (\d+)/.exec(value)) || [];
      return name ? [{ name, bytes: Number(bytes), time: timeOf(name, Number(seconds)) }] : [];
    }),
  };
}

function parseState(text: string | undefined): ServerSnapshots['lastRun'] {
  if (text === undefined) return undefined;
  const of = (key: string): string => new RegExp(`^${key}=(.*)$`, 'm').exec(text)?.[1] ?? '';
  return { time: Number(of('time')), code: Number(of('code')), snapshot: of('snapshot'), said: of('said') };
}
