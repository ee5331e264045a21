import { z } from 'zod';
import type { Operation } from '../apply.ts';
import { type Poll, until } from '../deadline.ts';
import { HomelabError, messageOf } from '../errors.ts';
import { unready } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { dig, textOf } from '../loose.ts';
import { nodeState, readPatiently } from '../observe/k3s.ts';
import { ETCD_FIGURES } from '../observe/k3s-facts.ts';
import { observeTrouble } from '../observe/k3s-trouble.ts';
import { diagnose } from '../plan/k3s-diagnose.ts';
import { troubleScreen } from '../plan/k3s-screen.ts';
import { ownLines, signIn } from '../plan/k3s-signs.ts';
import type { Ports } from '../ports/types.ts';

const readyArgs = z.object({
  ...{ node: z.string(), unit: z.string(), server: z.boolean(), version: z.string() },
  /** No other server has etcd's data: without a leader now, there will be none. */
  alone: z.boolean().default(false),
  /** It was just (re)started. */
  ...{ started: z.boolean().default(false), seconds: z.number() },
});
type Wanted = z.output<typeof readyArgs>;

/** Seconds after which the journal is read too: what K3s says by then, and says for good, is not waited out. */
const PATIENCE = 60;
/** Seconds in which systemd may not have taken up a start yet, and still tell how the one before ended. */
const START = 3;
/** Seconds in which a machine that does not answer may be booting; one that is silent for longer is gone. */
const BOOT = 180;

/**
 * Waits until a node is up: its unit active, on a server its API ready, its Node Ready at the version.
 * @throws HomelabError with one screen of what is known of the node, the likely cause, and what to do
 */
export function nodeReady(lab: Lab): Operation {
  return async (args, { ports }) => {
    const wanted = readyArgs.parse(args);
    const { node, unit, server, version, seconds } = wanted;
    const began = ports.clock.now().getTime();
    const since = wanted.started && !server ? await clockOf(node, ports) : undefined;
    let answered = began;
    const look = async (): Promise<Poll<undefined>> => {
      const { gone, failed, ...poll } = await lookAt(wanted, since, ports);
      const now = ports.clock.now().getTime();
      // systemd has given up; while it tries again the state is "activating".
      if (failed && now - began > START * 1000) throw new HomelabError(`${unit} on ${node} failed to start`);
      if (!gone) answered = now;
      if (now - answered > BOOT * 1000) throw new HomelabError(`${node} has not answered for ${BOOT} s`);
      if (!poll.done && !gone && now - began > PATIENCE * 1000) await endIfLasting(wanted, ports);
      return poll;
    };
    try {
      await until(seconds, `${node} is Ready at ${version}`, look, { sleep: ports.clock.sleep });
    } catch (error) {
      const seenLast = error instanceof HomelabError && error.likelyCause ? `; ${error.likelyCause}` : '';
      const problem = `${messageOf(error)}${seenLast}`;
      const trouble = await observeTrouble(lab, { name: node, role: server ? 'server' : 'agent' }, problem, ports);
      throw new HomelabError(problem, { ...diagnose(trouble), output: troubleScreen(trouble) });
    }
    return undefined;
  };
}

/**
 * @param since when an agent was started, by its own clock: its unit is active at once, and its Node stays Ready for a
 * while after its kubelet ended
 * @returns also whether the machine itself does not answer, and whether its unit failed
 */
async function lookAt(
  { node, unit, server, version }: Wanted,
  since: number | undefined,
  ports: Ports,
): Promise<Poll<undefined> & { gone?: boolean; failed?: boolean }> {
  const active = await readPatiently(ports.ssh, node, ['systemctl', 'is-active', unit], { deadline: 30 });
  if (!active.ok) return { done: false, seen: active.reason, gone: true };
  const state = active.value.stdout.trim();
  if (state !== 'active')
    return { done: false, seen: `${unit} is ${state || active.value.stderr.trim()}`, failed: state === 'failed' };
  if (server) {
    const argv = ['k3s', 'kubectl', 'get', '--raw', '/readyz'];
    const ready = await readPatiently(ports.ssh, node, argv, { sudo: true, deadline: 30 });
    if (!ready.ok) return { done: false, seen: ready.reason };
    const said = ready.value.stderr.trim();
    if (ready.value.code !== 0) return { done: false, seen: unready(said) ?? `the API is not ready: ${said}` };
  }
  const object = await ports.kube.get({ apiVersion: 'v1', kind: 'Node', name: node }).catch((error: Error) => error);
  if (object instanceof Error) return { done: false, seen: object.message };
  if (!object) return { done: false, seen: `there is no Node ${node} yet` };
  const seen = nodeState(object);
  if (seen.version !== version) return { done: false, seen: `its kubelet is ${seen.version}` };
  if (!seen.ready) return { done: false, seen: 'it is not Ready' };
  const reported = since === undefined || (await hasReported(node, since, ports));
  return reported
    ? { done: true, value: undefined }
    : { done: false, seen: 'its kubelet has not reported since it was started' };
}

/** Seconds since 1970 by a node's own clock; undefined: it does not answer. */
async function clockOf(node: string, { ssh }: Ports): Promise<number | undefined> {
  const clock = await readPatiently(ssh, node, ['date', '-u', '+%s'], { deadline: 30 });
  return clock.ok ? Number(clock.value.stdout) : undefined;
}

/** Whether a node's kubelet has renewed its lease since then; without a lease there is nothing to go by. */
async function hasReported(node: string, since: number, { kube }: Ports): Promise<boolean> {
  const ref = { apiVersion: 'coordination.k8s.io/v1', kind: 'Lease', name: node, namespace: 'kube-node-lease' };
  const lease = await kube.get(ref).catch(() => undefined);
  const renewed = textOf(dig(lease, 'spec', 'renewTime'));
  return renewed === undefined || Date.parse(renewed) / 1000 >= since;
}

/** @throws HomelabError when the unit's journal of the last minute, or its etcd, says what no waiting mends */
async function endIfLasting({ node, unit, alone }: Wanted, { ssh }: Ports): Promise<void> {
  const argv = ['journalctl', '-u', unit, '-n', '40', '--since', '-60s', '--no-pager', '-o', 'cat'];
  const [journal, etcd] = await Promise.all([
    readPatiently(ssh, node, argv, { sudo: true, deadline: 10 }),
    alone ? readPatiently(ssh, node, ['sh', '-c', ETCD_FIGURES], { sudo: true, deadline: 10 }) : undefined,
  ]);
  const lasting = journal.ok && signIn(ownLines(journal.value.stdout), 'lasting');
  const leaderless = etcd?.ok && /^leader=0$/m.test(etcd.value.stdout) && !/^members=1$/m.test(etcd.value.stdout);
  if (lasting || leaderless)
    throw new HomelabError(`${unit} on ${node} does not come up, and waiting longer does not help`);
}
