import { createHash } from 'node:crypto';
import { join } from 'node:path';
import { HomelabError, messageOf } from '../errors.ts';
import { isReady } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { dig, mapsIn } from '../loose.ts';
import { kubeconfigFile, scriptFile } from '../plan/k3s.ts';
import { spelledOut } from '../plan/k3s-labels.ts';
import type { SeenCluster, SeenHost, SeenK3s, SeenNode } from '../plan/k3s-seen.ts';
import type { Answer, Clock, FilesReader, KubeReader, Outcome, Readers, SshReader } from '../ports/types.ts';
import { TOKEN } from '../render/k3s-config.ts';
import type { KubeObject } from '../step.ts';
import { FACTS_SCRIPT, parseFacts } from './k3s-facts.ts';

/** Every node in one round trip each, side by side, and the cluster as its API server sees it. */
export async function observeK3s(lab: Lab, readers: Readers): Promise<SeenK3s> {
  const { ssh, kube, files, clock } = readers;
  const names = lab.config.k3s.nodes.map(({ name }) => name);
  const [hosts, cluster, token, scriptHash, kubeconfig] = await Promise.all([
    Promise.all(names.map(async (name) => [name, await observeHost(name, ssh, clock)] as const)),
    observeCluster(kube),
    files.text(join(lab.paths.secrets, TOKEN)),
    files.sha256(scriptFile(lab)),
    observeKubeconfig(kubeconfigFile(lab), files),
  ]);
  const tokenHash = token?.trim() ? createHash('sha256').update(token.trim()).digest('hex') : undefined;
  return { hosts: Object.fromEntries(hosts), cluster, tokenHash, scriptHash, kubeconfig };
}

async function observeHost(name: string, ssh: SshReader, clock: Clock): Promise<SeenHost> {
  const asked = clock.now().getTime();
  const answer = await readPatiently(ssh, name, ['sh', '-s'], { stdin: FACTS_SCRIPT, sudo: true, deadline: 60 });
  if (!answer.ok) return { reachable: false, reason: answer.reason };
  const facts = parseFacts(answer.value.stdout);
  if (!facts) {
    const said = answer.value.stderr.trim().split('\n').at(-1) ?? '';
    return { reachable: false, reason: `it answers, but what it is cannot be read (sudo?): ${said}` };
  }
  // Its clock was read at some moment in between.
  const middle = (asked + clock.now().getTime()) / 2000;
  return { reachable: true, facts, skewSeconds: facts.clock === undefined ? undefined : facts.clock - middle };
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

async function observeCluster(kube: KubeReader): Promise<SeenCluster> {
  const answer = await kube.reachable();
  if (!answer.ok) return { answers: false, reason: answer.reason };
  try {
    const nodes = await kube.list('v1', 'Node');
    return { answers: true, server: answer.value, nodes: nodes.map(nodeState) };
  } catch (error) {
    return { answers: false, reason: messageOf(error) };
  }
}

/** What of a Node object matters here. */
export function nodeState(node: KubeObject): SeenNode {
  return {
    name: node.metadata.name,
    ready: isReady(node),
    version: String(dig(node, 'status', 'nodeInfo', 'kubeletVersion') ?? ''),
    labels: node.metadata.labels ?? {},
    taints: mapsIn(dig(node, 'spec', 'taints')).map(({ key, value = '', effect }) =>
      spelledOut(`${key}=${value}:${effect}`),
    ),
  };
}

async function observeKubeconfig(file: string, files: FilesReader): Promise<SeenK3s['kubeconfig']> {
  const [text, mode] = await Promise.all([files.text(file), files.mode(file)]);
  return text === undefined || mode === undefined
    ? undefined
    : { header: text.split('\n')[0] ?? '', mode: mode & 0o777 };
}
