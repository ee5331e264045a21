import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { HomelabError } from '../errors.ts';
import { isReady, isTrue } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { dig, isMap, mapsIn, textOf } from '../loose.ts';
import { kubeconfigFile, scriptFile } from '../plan/k3s.ts';
import { airgapFiles, localFiles } from '../plan/k3s-airgap.ts';
import { CORDONED } from '../plan/k3s-drain.ts';
import { spelledOut } from '../plan/k3s-labels.ts';
import type { SeenCluster, SeenHost, SeenK3s, SeenNode } from '../plan/k3s-seen.ts';
import type { Answer, Clock, FilesReader, KubeReader, Outcome, Readers, SshReader } from '../ports/types.ts';
import { TOKEN } from '../render/k3s-config.ts';
import type { KubeObject } from '../step.ts';
import { apiAnswer, FACTS_SCRIPT, parseFacts } from './k3s-facts.ts';
import { podsOn } from './pods.ts';

/** What looking at the nodes takes. */
export type K3sReaders = Pick<Readers, 'ssh' | 'files' | 'clock'>;

/**
 * Every node in one round trip each, side by side; servers say in the same one what their API server sees. Before an
 * upgrade one more: which pods will be moved.
 */
export async function observeK3s(lab: Lab, readers: K3sReaders & Pick<Readers, 'kube'>): Promise<SeenK3s> {
  const seen = await lookAtNodes(lab, readers, 90);
  if (!seen.cluster.answers) return seen;
  const { nodes, version } = lab.config.k3s;
  const isOld = (name: string): boolean => {
    const host = seen.hosts[name];
    const node = seen.cluster.answers ? seen.cluster.nodes.find((one) => one.name === name) : undefined;
    return (
      node !== undefined && (node.version !== version || (host?.reachable && host.facts.version !== version) === true)
    );
  };
  const old = nodes.map(({ name }) => name).filter(isOld);
  return old.length === 0 ? seen : { ...seen, pods: await readPods(old, readers.kube) };
}

async function readPods(nodes: readonly string[], kube: KubeReader): Promise<SeenK3s['pods']> {
  try {
    const pods = await kube.list('v1', 'Pod');
    return { ok: true, value: Object.fromEntries(nodes.map((name) => [name, podsOn(name, pods)])) };
  } catch (error) {
    if (error instanceof HomelabError) return { ok: false, reason: error.message };
    throw error;
  }
}

/** The same, with the seconds within which a host must have answered. */
export async function lookAtNodes(lab: Lab, readers: K3sReaders, deadline: number): Promise<SeenK3s> {
  const { ssh, files, clock } = readers;
  const { nodes, first_server } = lab.config.k3s;
  const wanted = airgapFiles(lab).map(({ remote }) => remote);
  const [looks, token, scriptHash, kubeconfig, airgap] = await Promise.all([
    Promise.all(nodes.map(async ({ name }) => [name, await observeHost(name, wanted, deadline, ssh, clock)] as const)),
    files.text(join(lab.paths.secrets, TOKEN)),
    files.sha256(scriptFile(lab)),
    observeKubeconfig(kubeconfigFile(lab), files),
    Promise.all(localFiles(lab).map(async ({ path }) => [path, await files.sha256(path)] as const)),
  ]);
  const views = looks.flatMap(([name, { cluster }]) => (cluster ? [{ name, cluster }] : []));
  // The first server is asked first, as the Kubernetes port does.
  views.sort((a, b) => Number(b.name === first_server) - Number(a.name === first_server));
  const answering = views.flatMap(({ cluster }) => (cluster.answers ? [cluster] : []));
  const silent = views.flatMap(({ name, cluster }) => (cluster.answers ? [] : [`${name}: ${cluster.reason}`]));
  return {
    hosts: Object.fromEntries(looks.map(([name, { host }]) => [name, host])),
    cluster: answering[0] ?? { answers: false, reason: silent.join('; ') || 'K3s runs on no server' },
    views: Object.fromEntries(answering.map(({ server, nodes: seen }) => [server, seen])),
    tokenHash: token?.trim() ? createHash('sha256').update(token.trim()).digest('hex') : undefined,
    scriptHash,
    kubeconfig,
    airgap: Object.fromEntries(airgap),
  };
}

type Look = { host: SeenHost; cluster?: SeenCluster };

async function observeHost(
  name: string,
  files: readonly string[],
  deadline: number,
  ssh: SshReader,
  clock: Clock,
): Promise<Look> {
  const asked = clock.now().getTime();
  const argv = ['sh', '-s', ...files];
  const answer = await readPatiently(ssh, name, argv, { stdin: FACTS_SCRIPT, sudo: true, deadline });
  if (!answer.ok) return { host: { reachable: false, reason: answer.reason } };
  const { stdout, stderr } = answer.value;
  const facts = parseFacts(stdout);
  if (!facts) {
    const said = stderr.trim().split('\n').at(-1) ?? '';
    return { host: { reachable: false, reason: `it answers, but what it is cannot be read (sudo?): ${said}` } };
  }
  const api = apiAnswer(stdout);
  const skewSeconds = facts.clock === undefined ? undefined : skewOf(facts.clock, asked, clock.now().getTime());
  return {
    host: { reachable: true, facts, skewSeconds },
    cluster: api === undefined ? undefined : clusterOf(name, api),
  };
}

/**
 * How far a clock is ahead that said `seconds` (whole ones) at some moment between `asked` and `answered`: the least
 * that explains it, for a connection may take its time.
 */
export function skewOf(seconds: number, asked: number, answered: number): number {
  const [least, most] = [seconds - answered / 1000, seconds + 1 - asked / 1000];
  return least > 0 ? least : most < 0 ? most : 0;
}

/** A host that hangs is as good as one that is not there. */
export async function readPatiently(ssh: SshReader, ...call: Parameters<SshReader['read']>): Promise<Answer<Outcome>> {
  try {
    return await ssh.read(...call);
  } catch (error) {
    if (error instanceof HomelabError) return { ok: false, reason: error.message };
    throw error;
  }
}

/** What kubectl said on a server: a list of nodes and StorageClasses (behind warnings), or why there is none. */
function clusterOf(server: string, said: string): SeenCluster {
  const objects = objectsIn(said);
  if (!objects) return { answers: false, reason: said.trim().split('\n').at(-1) ?? 'its API does not answer' };
  const of = (kind: string): KubeObject[] => objects.filter((object) => object.kind === kind);
  return {
    ...{ answers: true, server, nodes: of('Node').map(nodeState) },
    defaultClasses: of('StorageClass')
      .filter(isDefaultClass)
      .map(({ metadata }) => metadata.name),
  };
}

function objectsIn(said: string): KubeObject[] | undefined {
  try {
    const list: unknown = JSON.parse(said.slice(said.indexOf('{'), said.lastIndexOf('}') + 1));
    const items = dig(list, 'items');
    return Array.isArray(items) ? items.filter(isMap).map((item) => item as KubeObject) : undefined;
  } catch {
    return undefined;
  }
}

/** What of a Node object matters here. */
export function nodeState(node: KubeObject): SeenNode {
  const { name, labels = {}, annotations = {} } = node.metadata;
  const voter = isTrue(node, 'EtcdIsVoter');
  return {
    name,
    uid: textOf(node.metadata.uid),
    ready: isReady(node),
    version: String(dig(node, 'status', 'nodeInfo', 'kubeletVersion') ?? ''),
    labels,
    taints: mapsIn(dig(node, 'spec', 'taints')).map(({ key, value = '', effect }) =>
      spelledOut(`${key}=${value}:${effect}`),
    ),
    machineId: textOf(dig(node, 'status', 'nodeInfo', 'machineID')),
    member: voter || labels['node-role.kubernetes.io/etcd'] === 'true',
    voter,
    ...cordonOf(dig(node, 'spec', 'unschedulable') === true, annotations[CORDONED] !== undefined),
  };
}

function cordonOf(isCordoned: boolean, isMarked: boolean): Pick<SeenNode, 'cordoned' | 'marked'> {
  if (isCordoned) return { cordoned: isMarked ? 'by us' : 'by others' };
  return isMarked ? { marked: true } : {};
}

/** Whether claims that name no StorageClass get this one. */
export function isDefaultClass({ metadata }: KubeObject): boolean {
  return metadata.annotations?.['storageclass.kubernetes.io/is-default-class'] === 'true';
}

async function observeKubeconfig(file: string, files: FilesReader): Promise<SeenK3s['kubeconfig']> {
  const [text, mode] = await Promise.all([files.text(file), files.mode(file)]);
  return text === undefined || mode === undefined
    ? undefined
    : { header: text.split('\n')[0] ?? '', mode: mode & 0o777 };
}
