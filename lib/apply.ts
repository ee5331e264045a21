import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { meet } from './conditions.ts';
import { lastSeen, within } from './deadline.ts';
import { type Explanation, HomelabError, messageOf } from './errors.ts';
import type { Journal } from './journal.ts';
import { refOf } from './kube-object.ts';
import type { LockStore } from './ledger/lockfile.ts';
import type { Outcome, Ports } from './ports/types.ts';
import type { Secrets } from './secret.ts';
import { type Action, inOrder, type KubeObject, type Plan, type Step, type Value } from './step.ts';

/** What a script does itself, by name; returns what later steps may refer to. */
export type Operation = (args: Record<string, unknown>, context: ApplyContext) => Promise<string | undefined>;

export type ApplyContext = {
  ports: Ports;
  secrets: Secrets;
  journal: Journal;
  /** Where secrets are kept that steps make. */
  secretsFolder: string;
  lock: Pick<LockStore, keyof LockStore>;
  operations?: Record<string, Operation>;
  /** What the output of a program that failed means, here or on a host, or Proxmox's words. */
  explain?: (output: string) => Pick<Explanation, 'cause' | 'fix'> | undefined;
  /** Once aborted, nothing more is started and `apply` does not return: the process is about to end. */
  interrupted?: AbortSignal;
  onStart?: (step: Step) => void;
  /** Told what a step that waits sees, each time that it changes. */
  onSeen?: (step: Step, seen: string) => void;
  onEnd?: (step: Step, result: StepResult) => void;
};

export type StepResult = {
  id: string;
  host?: string;
  outcome: 'done' | 'failed' | 'skipped';
  seconds: number;
  /** False for waits, which only look. */
  changed: boolean;
  error?: unknown;
};

/** How many steps run side by side at most; SSH and the Proxmox API bear more, a small workstation does not. */
const SIDE_BY_SIDE = 16;
/** Seconds; the SSH port has deadlines of its own, that of a large file being this one. */
const LONGEST_UPLOAD = 1800;

/**
 * The only interpreter of steps. Runs each as soon as what it is after is done, independent ones side by
 * side; a failure skips what depends on it, and the rest goes on.
 * @returns a result a step, in the order in which they ended; never throws for a failed step
 */
export async function apply(plan: Plan, context: ApplyContext): Promise<StepResult[]> {
  const waiting = new Set(inOrder(plan));
  const outputs = new Map<string, string>();
  const ended = new Map<string, StepResult>();
  const lanes = new Set<string>();
  const running = new Set<Promise<void>>();
  const results: StepResult[] = [];

  const end = (step: Step, result: StepResult): void => {
    ended.set(step.id, result);
    results.push(result);
    const { error, ...rest } = result;
    context.journal.write({ event: 'step-end', ...rest, error: error === undefined ? undefined : messageOf(error) });
    context.onEnd?.(step, result);
  };

  const start = async (step: Step): Promise<void> => {
    const began = performance.now();
    const seconds = (): number => Math.round(performance.now() - began) / 1000;
    context.journal.write({ event: 'step-start', id: step.id, host: step.host, title: step.title });
    context.onStart?.(step);
    try {
      const output = await within(deadlineOf(step.action), step.title, () => act(step, context, outputs));
      if (output !== undefined) outputs.set(step.id, output);
      end(step, {
        id: step.id,
        host: step.host,
        outcome: 'done',
        seconds: seconds(),
        changed: step.action.kind !== 'wait',
      });
    } catch (error) {
      end(step, {
        id: step.id,
        host: step.host,
        outcome: 'failed',
        seconds: seconds(),
        changed: step.action.kind !== 'wait',
        error,
      });
    }
  };

  while (waiting.size > 0 || running.size > 0) {
    if (context.interrupted?.aborted) await new Promise<never>(() => {});
    for (const step of [...waiting]) {
      const before = (step.after ?? []).map((id) => ended.get(id));
      if (before.some((result) => result && result.outcome !== 'done')) {
        waiting.delete(step);
        end(step, { id: step.id, host: step.host, outcome: 'skipped', seconds: 0, changed: false });
      } else if (before.every(Boolean) && running.size < SIDE_BY_SIDE && !(step.lane && lanes.has(step.lane))) {
        waiting.delete(step);
        if (step.lane) lanes.add(step.lane);
        const run = start(step).finally(() => {
          running.delete(run);
          if (step.lane) lanes.delete(step.lane);
        });
        running.add(run);
      }
    }
    if (running.size > 0) await Promise.race(running);
  }
  return results;
}

/**
 * Seconds that a step may take at the most. What acts keeps the deadline itself, and says more when it passes
 * (what it saw last, a log); this one is a little later, for what does not end.
 */
function deadlineOf(action: Action): number {
  if ('deadline' in action && action.deadline !== undefined) return action.deadline + 20;
  return (action.kind === 'upload' ? LONGEST_UPLOAD : 120) + 20;
}

/** Carries a step's action out. @returns what later steps may refer to by `{from}` */
async function act(step: Step, context: ApplyContext, outputs: Map<string, string>): Promise<string | undefined> {
  const { ports } = context;
  const { action } = step;
  const text = (value: Value): string => resolve(value, context.secrets, outputs);
  switch (action.kind) {
    case 'run': {
      const argv = action.argv.map(text);
      const env = Object.fromEntries(Object.entries(action.env ?? {}).map(([name, value]) => [name, text(value)]));
      const stdin = action.stdin === undefined ? undefined : text(action.stdin);
      const outcome = await ports.exec.run(argv, { cwd: action.cwd, env, stdin, deadline: action.deadline });
      return succeeded(outcome, argv[0] ?? '', context.explain);
    }
    case 'remote': {
      const argv = action.argv.map(text);
      const stdin = action.stdin === undefined ? undefined : text(action.stdin);
      const outcome = await ports.ssh.run(action.host, argv, { stdin, sudo: action.sudo, deadline: action.deadline });
      return succeeded(outcome, `${argv[0]} on ${action.host}`, context.explain);
    }
    case 'upload': {
      const { host, path, content, mode, owner, deadline } = action;
      const isFile = typeof content === 'object' && 'file' in content;
      const sent = isFile ? content : text(content);
      await explained(context.explain, () => ports.ssh.upload(host, path, sent, { mode, owner, sudo: true, deadline }));
      return undefined;
    }
    case 'write':
      await ports.files.write(action.path, text(action.content), action.mode);
      return undefined;
    case 'download': {
      const expected = action.sha256 ?? context.lock.value.downloads[action.url];
      const sha256 = await ports.net.download(action.url, action.to, { sha256: expected, deadline: action.deadline });
      await context.lock.record(action.url, sha256);
      return action.to;
    }
    case 'secret': {
      await keepSecret(action.name, randomBytes(action.bytes).toString('hex'), context);
      return undefined;
    }
    case 'pve': {
      const answer = await explained(context.explain, () =>
        ports.pve.call(action.method, action.path, action.params, action.deadline),
      );
      return typeof answer === 'string' ? answer : undefined;
    }
    case 'kube': {
      if (action.verb === 'delete') {
        await ports.kube.delete(action.objects.map(refOf), action.deadline);
        return undefined;
      }
      await applyObjects(
        action.objects.map((object) => withSecrets(object, action.secrets, text)),
        action,
        ports,
        (seen) => context.onSeen?.(step, seen),
      );
      return undefined;
    }
    case 'wait':
      await meet(action.for, action.deadline, ports, (seen) => context.onSeen?.(step, seen));
      return undefined;
    case 'operation': {
      const operation = context.operations?.[action.name];
      if (!operation) throw new Error(`no operation ${action.name}`);
      return operation(action.args, context);
    }
  }
}

/** Remembers a secret for this run and those that follow. */
export async function keepSecret(
  name: string,
  value: string,
  { ports, secrets, secretsFolder }: Pick<ApplyContext, 'ports' | 'secrets' | 'secretsFolder'>,
): Promise<void> {
  await ports.files.write(join(secretsFolder, name), value, 0o600);
  secrets.add(name, value);
}

/** What webhooks of a chart that was just installed, and kinds that it brings, answer for a while though its pods are ready. */
const NOT_YET = /failed calling webhook|no endpoints available|no matches for kind|connection refused/i;

async function applyObjects(
  objects: KubeObject[],
  { force, deadline }: { force?: boolean; deadline: number },
  { kube, clock }: Ports,
  onSeen: (seen: string) => void,
): Promise<void> {
  const tryOnce = (): Promise<unknown> =>
    kube.apply(objects, { force }).then(
      () => undefined,
      (error: unknown) => error,
    );
  const settled = (error: unknown): boolean => {
    if (error === undefined || !NOT_YET.test(messageOf(error))) return true;
    onSeen(messageOf(error));
    return false;
  };
  const error = await lastSeen(deadline, tryOnce, settled, { clock, first: 0.2, most: 5 });
  if (error !== undefined) throw NOT_YET.test(messageOf(error)) ? unserved(error, deadline) : error;
}

/** Names what did not come up, where the API server's words name only the call that failed. */
function unserved(error: unknown, seconds: number): HomelabError {
  const words = messageOf(error);
  const webhook = /failed calling webhook "([^"]+)"/.exec(words)?.[1];
  const namespace = /https:\/\/[\w-]+\.([\w-]+)\.svc/.exec(words)?.[1];
  if (!webhook || !namespace) return new HomelabError(words, { cause: `so for ${seconds} s` });
  return new HomelabError(words, {
    cause: `the webhook ${webhook} has not served for ${seconds} s, though its pods were ready`,
    fix: `see \`k3s kubectl -n ${namespace} get pods\`, and their logs; then run this again`,
  });
}

/** Puts secrets into a Secret's stringData, where they are not part of the plan. */
function withSecrets(
  object: KubeObject,
  secrets: Record<string, Value> | undefined,
  text: (value: Value) => string,
): KubeObject {
  if (!secrets || object.kind !== 'Secret') return object;
  return {
    ...object,
    stringData: Object.fromEntries(Object.entries(secrets).map(([key, value]) => [key, text(value)])),
  };
}

/** Says what the script knows of an error: that is nearer to the matter than what a port can know. */
async function explained<T>(explain: ApplyContext['explain'], work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof HomelabError)) throw error;
    const { message, likelyCause, fix, output, exit } = error;
    const known = explain?.(`${message}\n${output ?? ''}`);
    throw known ? new HomelabError(message, { cause: likelyCause, fix, output, exit, ...known }) : error;
  }
}

function succeeded(outcome: Outcome, what: string, explain?: ApplyContext['explain']): string {
  if (outcome.code === 0) return outcome.stdout.trim();
  const said = outcome.stderr.trim() || outcome.stdout.trim();
  const output = said.split('\n').slice(-15).join('\n');
  throw new HomelabError(`${what} ended with exit code ${outcome.code}`, { ...explain?.(said), output });
}

function resolve(value: Value, secrets: Secrets, outputs: Map<string, string>): string {
  if (typeof value === 'string') return value;
  if ('secret' in value) {
    const secret = secrets.get(value.secret);
    if (!secret)
      throw new HomelabError(`the secret ${value.secret} is not set`, { fix: `add ${value.secret}=… to .env` });
    return secret.reveal();
  }
  if ('from' in value) {
    const output = outputs.get(value.from);
    if (output === undefined) throw new Error(`step ${value.from} put nothing out`);
    return output;
  }
  return value.join.map((part) => resolve(part, secrets, outputs)).join('');
}
