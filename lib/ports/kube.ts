import { HomelabError, messageOf } from '../errors.ts';
import { nameOf, unready } from '../kube-object.ts';
import type { KubeObject } from '../step.ts';
import type { PortContext } from './index.ts';
import type { Answer, CommandOptions, Kube, KubeKind, Outcome, Ssh } from './types.ts';

/** Who our fields belong to in the objects' managedFields. */
const FIELD_MANAGER = 'homelab';
/** Seconds. */
const READ = 60;
const WRITE = 120;
/** What is left for a server that is asked last, after others that hang. */
const LEAST = 5;

/**
 * K3s through `k3s kubectl` on a server, over SSH: the cluster's own version, and no API port opened to us.
 * The servers are asked in order, the first one first; the one that answers is asked first from then on.
 */
export function connectKube(
  { lab, secrets }: Pick<PortContext, 'lab' | 'secrets'>,
  ssh: Ssh,
  // An API server without etcd's majority answers after a minute, that it could not: another one is asked before that.
  { readSeconds = 25 }: { readSeconds?: number } = {},
): Kube {
  const { first_server: first, nodes } = lab.config.k3s;
  const others = nodes.filter(({ role, name }) => role === 'server' && name !== first).map(({ name }) => name);
  let preferred = first;

  /**
   * Runs kubectl on the first server whose API answers.
   * @param deadline seconds for each server; a function says what is left for the next one
   * @returns where, and what it said, whatever its exit code
   */
  const kubectl = async (run: Runner, args: string[], { deadline, ...options }: Options): Promise<Answer<Said>> => {
    const silent: string[] = [];
    const order = [preferred, ...[first, ...others].filter((name) => name !== preferred)];
    for (const server of order) {
      const seconds = typeof deadline === 'function' ? deadline() : deadline;
      const answer = await run(server, ['k3s', 'kubectl', ...args], { ...options, sudo: true, deadline: seconds });
      const reason = answer.ok ? noAnswer(answer.value) : answer.reason;
      if (answer.ok && reason === undefined) {
        preferred = server;
        return { ok: true, value: { server, ...answer.value } };
      }
      silent.push(`${server}: ${reason}`);
    }
    return { ok: false, reason: silent.join('; ') };
  };

  /** A server that hangs is passed over like one that is not there. */
  const reading: Runner = async (server, argv, options) => {
    try {
      return await ssh.read(server, argv, options);
    } catch (error) {
      if (error instanceof HomelabError) return { ok: false, reason: error.message };
      throw error;
    }
  };
  const writing: Runner = async (server, argv, options) => {
    try {
      return { ok: true, value: await ssh.run(server, argv, options) };
    } catch (error) {
      return { ok: false, reason: messageOf(error) };
    }
  };

  /** @throws HomelabError when no server answers, or kubectl fails, with the API server's words */
  const succeed = async (named: string, run: Runner, args: string[], options: Options): Promise<Said> => {
    const what = secrets.redact(named);
    const answer = await kubectl(run, args, options);
    if (!answer.ok)
      throw new HomelabError(`${what}: no K3s server answers: ${secrets.redact(answer.reason)}`, {
        fix: 'see that the servers run; install-k3s --dry-run says what each of them lacks',
      });
    if (answer.value.code !== 0) throw refused(what, secrets.redact(wordsOf(answer.value)));
    if (answer.value.truncated) throw new HomelabError(`${what}: the answer of ${answer.value.server} is too long`);
    return answer.value;
  };

  /** JSON of a `get`, or undefined when the object or its kind is not there. */
  const getJson = async (what: string, args: string[]): Promise<unknown> => {
    try {
      const options = ['--ignore-not-found', '-o', 'json', `--request-timeout=${readSeconds}s`];
      const { stdout } = await succeed(what, reading, [...args, ...options], { deadline: READ });
      return stdout.trim() === '' ? undefined : JSON.parse(stdout);
    } catch (error) {
      if (unknownKind(messageOf(error)) !== undefined) return undefined;
      throw error;
    }
  };

  return {
    async reachable() {
      const answer = await kubectl(reading, ['get', '--raw', '/readyz'], { deadline: 30 });
      if (!answer.ok) return { ok: false, reason: secrets.redact(answer.reason) };
      const { code, server } = answer.value;
      return code === 0 ? { ok: true, value: server } : { ok: false, reason: `${server}: ${wordsOf(answer.value)}` };
    },

    async get(ref) {
      const found = await getJson(`get ${nameOf(ref)}`, [
        'get',
        resourceOf(ref),
        ref.name,
        ...inNamespace(ref.namespace),
      ]);
      return found as KubeObject | undefined;
    },

    async list(apiVersion, kind, namespace) {
      const where = namespace === undefined ? ['-A'] : inNamespace(namespace);
      return itemsOf(await getJson(`list ${kind}`, ['get', resourceOf({ apiVersion, kind }), ...where]));
    },

    async survey(kinds) {
      const left = new Map(kinds.map((kind) => [resourceOf(kind), kind.kind.toLowerCase()]));
      const began = performance.now();
      // For all kinds, servers and attempts together; kubectl's own limit is for each kind, one after another.
      const remaining = (): number => {
        const seconds = READ - (performance.now() - began) / 1000;
        return Math.round(Math.max(LEAST, Math.min(readSeconds + LEAST, seconds)));
      };
      // One kind that is not known fails the whole call, and kubectl names one at a time.
      while (left.size > 0) {
        const options = ['-A', '--ignore-not-found', '-o', 'json', `--request-timeout=${readSeconds}s`];
        const args = ['get', [...left.keys()].join(','), ...options];
        const answer = await kubectl(reading, args, { deadline: remaining });
        if (!answer.ok) return { ok: false, reason: secrets.redact(answer.reason) };
        const { code, stdout, server, truncated } = answer.value;
        if (truncated) return { ok: false, reason: `the answer of ${server} is too long` };
        if (code === 0) return { ok: true, value: itemsOf(stdout.trim() === '' ? undefined : JSON.parse(stdout)) };
        const words = wordsOf(answer.value);
        const unknown = [...left].find(([, name]) => name === unknownKind(words));
        if (!unknown) return { ok: false, reason: `${server}: ${secrets.redact(words)}` };
        left.delete(unknown[0]);
      }
      return { ok: true, value: [] };
    },

    async apply(objects, { force = false } = {}) {
      if (objects.length === 0) return;
      const list = { apiVersion: 'v1', kind: 'List', items: namespacesFirst(objects) };
      const whose = [`--field-manager=${FIELD_MANAGER}`, `--force-conflicts=${force}`];
      const args = ['apply', '--server-side', ...whose, '-f', '-'];
      // On stdin, where secrets are in no process list.
      await succeed(`apply ${objects.map((o) => `${o.kind} ${o.metadata.name}`).join(', ')}`, writing, args, {
        stdin: JSON.stringify(list),
        deadline: WRITE,
      });
    },

    async delete(refs, deadline = WRITE) {
      for (const ref of refs) {
        const options = ['--ignore-not-found', '--wait=true', `--timeout=${deadline}s`];
        const args = ['delete', resourceOf(ref), ref.name, ...inNamespace(ref.namespace), ...options];
        try {
          await succeed(`delete ${nameOf(ref)}`, writing, args, { deadline: deadline + 15 });
        } catch (error) {
          if (unknownKind(messageOf(error)) === undefined) throw error;
        }
      }
    },

    async logs(namespace, workload, lines = 50) {
      const args = ['logs', workload, '-n', namespace, `--tail=${lines}`, '--all-containers=true'];
      const { stdout } = await succeed(`logs of ${namespace}/${workload}`, reading, args, { deadline: READ });
      return stdout;
    },
  };
}

type Options = Omit<CommandOptions, 'deadline'> & { deadline: number | (() => number) };
type Said = Outcome & { server: string };
type Runner = (server: string, argv: string[], options: CommandOptions) => Promise<Answer<Outcome>>;

/** What kubectl says when the API server is not there, or cannot serve: without etcd's majority it is there, and says `(Timeout)`. */
const SILENT =
  /connection to the server .* was refused|unable to connect to the server|etcdserver: |\((Timeout|ServiceUnavailable)\): |readyz check failed|apiserver not ready|error loading config file|k3s\.yaml: no such file|i\/o timeout|TLS handshake timeout/i;

/** Why a server's kubectl had no API server to talk to; undefined when it had. */
function noAnswer({ code, stdout, stderr }: Outcome): string | undefined {
  if (code === 0) return undefined;
  const words = (stderr || stdout).trim().split('\n').at(-1) ?? '';
  if (code === 127) return 'K3s is not installed';
  // It was a webhook that did not answer: the API server did.
  if (/calling webhook/.test(words) || !SILENT.test(words)) return undefined;
  return unready(words) ?? words;
}

/** `ingress.v1.networking.k8s.io`: unambiguous, also where two groups have a kind of one name; `pod.v1.` for the core. */
export function resourceOf({ apiVersion, kind }: KubeKind): string {
  const [group = '', version = ''] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
  return `${kind.toLowerCase()}.${version}.${group}`;
}

function inNamespace(namespace: string | undefined): string[] {
  return namespace === undefined ? [] : ['-n', namespace];
}

/** What is in a namespace is refused before the namespace is there. */
function namespacesFirst(objects: readonly KubeObject[]): KubeObject[] {
  const isNamespace = ({ kind }: KubeObject): boolean => kind === 'Namespace';
  return [...objects.filter(isNamespace), ...objects.filter((object) => !isNamespace(object))];
}

/** The kind, in lower case, that kubectl says is not known. */
function unknownKind(message: string): string | undefined {
  return /(?:the server doesn't have a resource type|no matches for kind) "([^".]+)/.exec(message)?.[1]?.toLowerCase();
}

function itemsOf(list: unknown): KubeObject[] {
  return (list as { items: KubeObject[] } | undefined)?.items ?? [];
}

function wordsOf({ stdout, stderr, code }: Outcome): string {
  return (stderr.trim() || stdout.trim() || `kubectl ended with exit code ${code}`).split('\n').slice(0, 20).join('\n');
}

function refused(what: string, words: string): HomelabError {
  if (/Apply failed with \d+ conflict/.test(words))
    // What follows is kubectl's advice, for who types kubectl.
    return new HomelabError(`${what}: ${words.split('\nPlease review the fields above')[0]}`, {
      cause: 'somebody else changed these fields, and would lose the change',
      fix: 'take the change back there, or move it into homelab.yaml',
    });
  return new HomelabError(`${what}: ${words}`);
}
