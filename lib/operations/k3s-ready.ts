import { z } from 'zod';
import type { Operation } from '../apply.ts';
import { type Poll, until } from '../deadline.ts';
import { HomelabError, messageOf } from '../errors.ts';
import { nodeState, readPatiently } from '../observe/k3s.ts';
import { diagnose } from '../plan/k3s-diagnose.ts';
import type { Ports } from '../ports/types.ts';

const readyArgs = z.object({
  ...{ node: z.string(), unit: z.string(), server: z.boolean(), version: z.string() },
  seconds: z.number(),
});
type Wanted = z.output<typeof readyArgs>;

/**
 * Waits until a node is up: its unit active, on a server its API ready, its Node Ready at the version.
 * @param servers how many servers there are, for the explanation
 * @throws HomelabError with the end of the unit's journal and the likely cause
 */
export function nodeReady(servers: number): Operation {
  return async (args, { ports }) => {
    const wanted = readyArgs.parse(args);
    const { node, version, seconds } = wanted;
    try {
      await until(seconds, `${node} is Ready at ${version}`, () => look(wanted, ports), { sleep: ports.clock.sleep });
    } catch (error) {
      throw await explained(error, wanted, servers, ports);
    }
    return undefined;
  };
}

async function look({ node, unit, server, version }: Wanted, ports: Ports): Promise<Poll<undefined>> {
  const active = await readPatiently(ports.ssh, node, ['systemctl', 'is-active', unit], { deadline: 30 });
  if (!active.ok) return { done: false, seen: active.reason };
  const state = active.value.stdout.trim();
  // systemd has given up; while it tries again the state is "activating".
  if (state === 'failed') throw new HomelabError(`${unit} on ${node} failed to start`);
  if (state !== 'active') return { done: false, seen: `${unit} is ${state || active.value.stderr.trim()}` };
  if (server) {
    const argv = ['k3s', 'kubectl', 'get', '--raw', '/readyz'];
    const ready = await readPatiently(ports.ssh, node, argv, { sudo: true, deadline: 30 });
    if (!ready.ok) return { done: false, seen: ready.reason };
    if (ready.value.code !== 0) return { done: false, seen: `the API is not ready: ${ready.value.stderr.trim()}` };
  }
  const object = await ports.kube.get({ apiVersion: 'v1', kind: 'Node', name: node }).catch((error: Error) => error);
  if (object instanceof Error) return { done: false, seen: object.message };
  if (!object) return { done: false, seen: `there is no Node ${node} yet` };
  const seen = nodeState(object);
  if (seen.version !== version) return { done: false, seen: `its kubelet is ${seen.version}` };
  return seen.ready ? { done: true, value: undefined } : { done: false, seen: 'it is not Ready' };
}

/** The error, with what the host says about it. */
async function explained(error: unknown, wanted: Wanted, servers: number, ports: Ports): Promise<HomelabError> {
  const { node, unit, server } = wanted;
  const asked = ports.clock.now().getTime() / 1000;
  const [active, journal, clock] = await Promise.all([
    readPatiently(ports.ssh, node, ['systemctl', 'is-active', unit], { deadline: 10 }),
    readPatiently(ports.ssh, node, ['journalctl', '-u', unit, '-n', '40', '--no-pager', '-o', 'cat'], {
      sudo: true,
      deadline: 10,
    }),
    readPatiently(ports.ssh, node, ['date', '-u', '+%s'], { deadline: 10 }),
  ]);
  const lines = journal.ok ? journal.value.stdout.trim() : '';
  const seenLast = error instanceof HomelabError && error.likelyCause ? `; ${error.likelyCause}` : '';
  const message = `${messageOf(error)}${seenLast}`;
  if (!journal.ok) return new HomelabError(message, { cause: journal.reason, fix: `see that ${node} runs` });
  const { cause, fix } = diagnose({
    node,
    role: server ? 'server' : 'agent',
    state: active.ok ? active.value.stdout.trim() : '',
    journal: lines,
    skewSeconds: clock.ok ? Number(clock.value.stdout) - asked : undefined,
    servers,
  });
  return new HomelabError(message, { cause, fix, output: lines.split('\n').slice(-15).join('\n') });
}
