import { spawn } from 'node:child_process';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { itemsAt, type Thing, textAt, valueAt, withCondition } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { imageOf } from '../images.ts';
import { layOut, overfull, type Volumes } from './sandbox-volumes.ts';

/**
 * Pods of images whose programs this machine has: their containers run as child processes, one after another, in
 * folders that stand for the volumes. Paths of volumes in argv and environment are those folders', and a Service that
 * a mounted JSON file names is where its backend listens. There is no isolation: no namespaces, no limits, no user.
 */
export function isSandboxed(pod: Thing): boolean {
  const containers = containersOf(pod);
  const known = containers.every((container) => imageOf(textAt(container, 'image'), []) !== undefined);
  return known && itemsAt(pod, 'spec.initContainers').length > 0 && textAt(pod, 'spec.restartPolicy') === 'Never';
}

/** @param client the address of the pod's node, from which it mounts */
export function startSandbox(cluster: Cluster, pod: Thing, client: string): void {
  const key = pod.metadata.uid ?? '';
  if (cluster.sandboxes.has(key)) return;
  const refused = pullProblem(cluster, pod) ?? contextProblem(pod);
  if (refused) {
    cluster.event(pod, 'Warning', 'Failed', refused.message);
    cluster.store.putStatus(pod, { phase: 'Pending', ...waiting(pod, refused) });
    cluster.loop.postpone(`start ${key}`, cluster.pace.retry, cluster.pace.pod);
    return;
  }
  const root = mkdtempSync(join(tmpdir(), 'homelab-sandbox-'));
  const volumes = layOut(cluster, pod, client, root);
  const running = new Run(cluster, pod, root, volumes);
  cluster.sandboxes.set(key, () => running.end());
  cluster.store.putStatus(pod, { phase: 'Running' });
  void running.all().then(({ code, evicted }) => {
    cluster.sandboxes.delete(key);
    rmSync(root, { recursive: true, force: true });
    const live = cluster.store.get('v1', 'Pod', pod.metadata.name, pod.metadata.namespace);
    if (live === undefined || live.metadata.uid !== pod.metadata.uid) return;
    cluster.store.putStatus(live, {
      phase: code === 0 && !evicted ? 'Succeeded' : 'Failed',
      ...(evicted ? { reason: 'Evicted', message: evicted } : {}),
      containerStatuses: itemsAt(pod, 'spec.containers').map(({ name }) => ({
        ...{ name, ready: false, restartCount: 0 },
        state: { terminated: { exitCode: code, reason: code === 0 ? 'Completed' : 'Error' } },
      })),
      conditions: withCondition(live, 'Ready', 'False', 'PodCompleted', ''),
    });
  });
}

/** Those whose pod was deleted are told to end. */
export function endSandboxes(cluster: Cluster): void {
  const uids = new Set(cluster.store.list('v1', 'Pod').map(({ metadata }) => metadata.uid));
  for (const [uid, end] of cluster.sandboxes) if (!uids.has(uid)) void end();
}

type Problem = { reason: string; message: string; image?: string };

function pullProblem(cluster: Cluster, pod: Thing): Problem | undefined {
  for (const container of containersOf(pod)) {
    const name = textAt(container, 'image');
    const image = imageOf(name, cluster.faults.images);
    if (image && 'missing' in image)
      return { reason: 'ImagePullBackOff', image: name, message: `Back-off pulling image "${name}": ${image.missing}` };
  }
  return undefined;
}

/** What a kubelet refuses to start. */
function contextProblem(pod: Thing): Problem | undefined {
  const user = valueAt(pod, 'spec.securityContext.runAsUser');
  if (valueAt(pod, 'spec.securityContext.runAsNonRoot') !== true || (typeof user === 'number' && user > 0))
    return undefined;
  const message = 'container has runAsNonRoot and image will run as root';
  return { reason: 'CreateContainerConfigError', message };
}

function waiting(pod: Thing, { reason, message, image }: Problem): Record<string, unknown> {
  const of = (key: string): Record<string, unknown>[] =>
    itemsAt(pod, `spec.${key}`).map((container) => ({
      ...{ name: container.name, image: container.image, ready: false, restartCount: 0 },
      state: {
        waiting: image === undefined || container.image === image ? { reason, message } : { reason: 'PodInitializing' },
      },
    }));
  return { initContainerStatuses: of('initContainers'), containerStatuses: of('containers') };
}

/** The containers of one pod. */
class Run {
  readonly #cluster: Cluster;
  readonly #pod: Thing;
  readonly #root: string;
  readonly #volumes: Volumes;
  #kill: ((signal: NodeJS.Signals) => void) | undefined;
  #ended: Promise<unknown> = Promise.resolve();
  #stopped = false;

  constructor(cluster: Cluster, pod: Thing, root: string, volumes: Volumes) {
    this.#cluster = cluster;
    this.#pod = pod;
    this.#root = root;
    this.#volumes = volumes;
  }

  async all(): Promise<{ code: number; evicted?: string }> {
    for (const container of containersOf(this.#pod)) {
      if (this.#stopped) return { code: 143 };
      const run = this.#run(container);
      this.#ended = run;
      const code = await run;
      const evicted = overfull(this.#volumes);
      if (code !== 0 || evicted) return { code, evicted };
    }
    return { code: 0 };
  }

  /** As a kubelet ends a pod: it is asked, and after its grace period it is made to. */
  async end(): Promise<void> {
    this.#stopped = true;
    this.#kill?.('SIGTERM');
    const grace = setTimeout(
      () => this.#kill?.('SIGKILL'),
      1000 * Number(valueAt(this.#pod, 'spec.terminationGracePeriodSeconds') ?? 30),
    );
    await this.#ended;
    clearTimeout(grace);
  }

  #run(container: Record<string, unknown>): Promise<number> {
    const image = imageOf(textAt(container, 'image'), []);
    const files = image && 'files' in image ? image.files : {};
    const places = new Map([...Object.entries(files), ...this.#mounts(container)]);
    const here = (text: string): string => {
      const found = [...places.keys()].sort((a, b) => b.length - a.length);
      return found.reduce((done, path) => done.replaceAll(path, places.get(path) ?? path), text);
    };
    const words = ['command', 'args']
      .flatMap((key) => [valueAt(container, key) ?? []].flat())
      .map((word) => here(String(word)));
    const env = itemsAt(container, 'env').map((one): [string, string] => [
      textAt(one, 'name'),
      here(textAt(one, 'value')),
    ]);
    const cwd = join(this.#root, 'rootfs');
    if (!existsSync(cwd)) mkdirSync(cwd);
    if (valueAt(container, 'securityContext.readOnlyRootFilesystem') === true) chmodSync(cwd, 0o555);
    const [program = '', ...args] = words;
    const key = `${this.#pod.metadata.namespace}/${this.#pod.metadata.name}`;
    const log = (text: string): void => void this.#cluster.logs.set(key, (this.#cluster.logs.get(key) ?? '') + text);
    return new Promise((resolve) => {
      const child = spawn(program, args, {
        ...{ cwd, stdio: ['ignore', 'pipe', 'pipe'] },
        env: { PATH: '/usr/local/bin:/usr/bin:/bin', HOSTNAME: this.#pod.metadata.name, ...Object.fromEntries(env) },
      });
      this.#kill = (signal) => void child.kill(signal);
      for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => log(chunk.toString()));
      child.on('error', (error) => {
        log(`${error.message}\n`);
        resolve(128);
      });
      child.on('close', (code) => resolve(code ?? 137));
    });
  }

  /** Volumes by the path at which the container has them; a single file is found in its volume only. */
  #mounts(container: unknown): [string, string][] {
    return itemsAt(container, 'volumeMounts').flatMap((mount): [string, string][] => {
      const volume = this.#volumes.get(textAt(mount, 'name'));
      return volume && !textAt(mount, 'subPath') ? [[textAt(mount, 'mountPath'), volume.folder]] : [];
    });
  }
}

/** In the order in which they run. */
function containersOf(pod: Thing): Record<string, unknown>[] {
  return [...itemsAt(pod, 'spec.initContainers'), ...itemsAt(pod, 'spec.containers')];
}
