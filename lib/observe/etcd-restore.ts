import { HomelabError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import { findSource, type RestoreSeen, type RestoreState, type Trace } from '../plan/etcd-restore-seen.ts';
import type { KubeReader, Readers, SshReader } from '../ports/types.ts';
import { KEPT, RESTORE_MARK, RESTORE_STATE } from '../render/etcd-restore.ts';
import { CONFIG_FILE } from '../render/k3s-config.ts';
import { DATA } from '../render/k3s-uninstall.ts';
import { askNas, observeSnapshots } from './etcd-snapshots.ts';
import { observeK3s, readPatiently } from './k3s.ts';

/** Nodes, snapshots, and what a restore that was interrupted has left. */
export async function observeRestore(
  lab: Lab,
  readers: Readers,
  { snapshot }: { snapshot: string },
): Promise<RestoreSeen> {
  const { ssh, kube } = readers;
  const [k3s, snapshots] = await Promise.all([observeK3s(lab, readers), observeSnapshots(lab, readers)]);
  const reachable = servers(lab.config)
    .map(({ name }) => name)
    .filter((name) => k3s.hosts[name]?.reachable);
  const traces = await Promise.all(reachable.map(async (name) => [name, await readTrace(name, ssh)] as const));
  const source = findSource({ snapshots }, snapshot);
  const tokenHash = source?.from === 'nas' ? await readToken(lab, ssh, reachable, source) : undefined;
  return {
    ...{ k3s, snapshots, tokenHash },
    traces: Object.fromEntries(traces),
    identity: k3s.cluster.answers ? await readIdentity(kube) : undefined,
  };
}

/** The uid of the Namespace kube-system. */
export async function readIdentity(kube: KubeReader): Promise<string | undefined> {
  try {
    const found = await kube.get({ apiVersion: 'v1', kind: 'Namespace', name: 'kube-system' });
    return typeof found?.metadata.uid === 'string' ? found.metadata.uid : undefined;
  } catch (error) {
    if (error instanceof HomelabError) return undefined;
    throw error;
  }
}

/** Prints what restores have left: KEY=value lines, those of the state's file among them. */
const TRACES = `if [ -f ${RESTORE_STATE} ]; then cat ${RESTORE_STATE}; fi
if [ -f ${RESTORE_MARK} ]; then echo "restored=$(cat ${RESTORE_MARK})"; fi
for kept in ${KEPT}*; do
  if [ -d "$kept" ]; then echo "kept=\${kept##*.before-restore-}"; fi
done
for file in ${CONFIG_FILE} ${CONFIG_FILE}.d/*.yaml ${CONFIG_FILE}.d/*.yml; do
  if grep -q '^"\\{0,1\\}data-dir"\\{0,1\\} *:' "$file" 2> /dev/null; then echo "data-dir=$file"; fi
done
for folder in ${DATA} ${DATA}/etcd ${DATA}/snapshots; do
  if mountpoint -q "$folder"; then echo "disk=$folder"; fi
done
echo end=yes
`;

/** @throws HomelabError when it cannot be read: a restore that took it for nothing would go on past what is there */
export async function readTrace(host: string, ssh: SshReader): Promise<Trace> {
  const answer = await readPatiently(ssh, host, ['sh', '-s'], { stdin: TRACES, sudo: true, deadline: 60 });
  const trace = answer.ok ? parseTrace(answer.value.stdout) : undefined;
  if (trace) return trace;
  throw new HomelabError(
    `what restores have left on ${host} cannot be read: ${answer.ok ? 'the answer broke off' : answer.reason}`,
    {
      fix: 'see that it answers by SSH, and run this again',
    },
  );
}

/** What the script printed, or undefined when it did not come to its end. */
export function parseTrace(stdout: string): Trace | undefined {
  const all = (key: string): string[] =>
    stdout.split('\n').flatMap((line) => (line.startsWith(`${key}=`) ? [line.slice(key.length + 1)] : []));
  const of = (key: string): string => all(key)[0] ?? '';
  if (!of('end')) return undefined;
  const stage = of('stage');
  const state: RestoreState | undefined =
    stage === 'aside' || stage === 'reset'
      ? { id: of('id'), snapshot: of('snapshot'), target: of('target'), stage }
      : undefined;
  return { state, restored: all('restored')[0], kept: all('kept'), dataDir: all('data-dir'), disks: all('disk') };
}

async function readToken(
  lab: Lab,
  ssh: SshReader,
  hosts: readonly string[],
  { server, name }: { server: string; name: string },
): Promise<RestoreSeen['tokenHash']> {
  const reasons: string[] = [];
  for (const host of hosts) {
    const answer = await askNas(lab, ssh, host, { kind: 'token', node: server, snapshot: name });
    if (answer.ok) return { ok: true, value: answer.value.trim() };
    reasons.push(`${host}: ${answer.reason}`);
  }
  return { ok: false, reason: reasons.join('; ') || 'no server is reachable' };
}
