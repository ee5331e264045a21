import { createHash } from 'node:crypto';
import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import { k3sConfig, k3sConfigText } from '../render/k3s-config.ts';
import type { Step } from '../step.ts';
import { fileReason, isNoted } from './k3s-airgap.ts';
import { factsOf, joinOf, parseConfig } from './k3s-join.ts';
import { labelSteps } from './k3s-labels.ts';
import { isEmpty, lostMajority } from './k3s-members.ts';
import type { HostFacts, SeenK3s, SeenNode } from './k3s-seen.ts';

/** Labels and taints are read at registration; a change of them restarts nothing. */
const AT_REGISTRATION = ['node-label', 'node-taint'];

/** What has to be done to a node, each with its reason; undefined: nothing. */
export type NodeWork = {
  node: K3sNode;
  unit: 'k3s' | 'k3s-agent';
  /** Has run before: then it is changed only when all before it are well again. */
  exists: boolean;
  config?: string;
  /** Files of k3s.airgap that it lacks, and their hashes, which are not noted on it. */
  binary?: string;
  images?: string;
  note?: string;
  install?: string;
  enable?: string;
  /** Another version runs than will. */
  upgrade?: string;
  /** Its pods go elsewhere before another version runs. A restart for anything else leaves containers running. */
  drain?: string;
  stop?: string;
  /** The majority of etcd is gone: it goes on alone. */
  reset?: string;
  start?: string;
  stamp?: string;
  ready?: string;
  /** We cordoned it, now or in a run that was ended before it took that back. */
  uncordon?: string;
  /** Somebody took our cordon back, and our mark is still there. */
  unmark?: string;
  /** The cluster remembers a machine of that name that is no more. */
  forget?: string;
  text: string;
  fingerprint: string;
  labels: Step[];
};

/** Compares a node with what it should be. */
export function workOn(lab: Lab, seen: SeenK3s, node: K3sNode): NodeWork {
  const facts = factsOf(seen, node.name);
  const unit = node.role === 'server' ? 'k3s' : 'k3s-agent';
  const lost = lostMajority(lab, seen);
  const reset = lost?.survivor === node.name ? lost.arithmetic : undefined;
  const config = k3sConfig(lab, node, reset ? 'init' : joinOf(lab, seen, node));
  const fingerprint = fingerprintOf(config);
  const text = k3sConfigText(config);
  const inCluster = seen.cluster.answers ? seen.cluster.nodes.find(({ name }) => name === node.name) : undefined;
  const fresh = !facts.joined && !facts.etcdData;
  const forget = isEmpty(facts) && seen.hosts[node.name]?.reachable ? forgetReason(lab, seen, inCluster) : undefined;

  const state = facts.units[unit];
  const runs = state?.state === 'active' || state?.state === 'activating';
  const { version: wanted } = lab.config.k3s;
  const binary = fileReason(lab, seen, node.name, 'binary');
  const images = fileReason(lab, seen, node.name, 'images');
  const install = installReason(facts.version, wanted, state !== undefined) ?? (binary && 'it gets another binary');
  const configWhy = configReason(seen, node.name, config, text);
  const liveFingerprint = facts.startedWith ?? (facts.config && fingerprintOf(parseConfig(facts.config)));
  const start = ((): string | undefined => {
    if (!state) return 'it was never started';
    if (!runs) return `${unit} is ${state.state || 'in no state'}`;
    if (reset) return 'etcd goes on with it alone';
    if (install) return facts.version === wanted ? install : 'new version';
    if (inCluster && facts.joined && inCluster.version !== wanted) return `${inCluster.version} still runs`;
    if (liveFingerprint !== fingerprint) return 'config.yaml changed since its last start';
    if (node.gpu && facts.nvidia === 'later') return `NVIDIA's toolkit was installed after ${unit} started`;
    return configWhy === 'token differs' ? configWhy : undefined;
  })();
  const stop = start && runs ? start : undefined;
  const known = forget ? undefined : inCluster;
  const upgrade = !fresh && isOther(facts, known, wanted) ? (known?.version ?? facts.version) : undefined;
  const drain = stop && upgrade && !reset && !isAlone(lab, seen, node.name) ? 'another version will run' : undefined;
  return {
    ...{ node, unit, text, fingerprint, install, start, stop, reset, forget, upgrade, drain, binary, images },
    ready: start ? 'it is started' : unreadyReason(seen, inCluster, state?.state),
    exists: !fresh,
    config: configWhy,
    note: binary || images || !isNoted(lab, seen, node.name) ? 'a look need not read them again' : undefined,
    enable: state?.enabled ? undefined : 'it does not start with the machine',
    stamp: start || facts.startedWith !== fingerprint ? 'remembers what it was started with' : undefined,
    uncordon: drain ? 'it is back' : uncordonReason(seen, known, !fresh),
    unmark:
      known?.marked && !drain
        ? 'somebody let pods in again, and who keeps them out next would be taken for us'
        : undefined,
    labels: known && seen.cluster.answers ? labelSteps(node, known, seen.cluster.server, facts.config) : [],
  };
}

/** Whether another version runs than will. */
function isOther(facts: HostFacts, known: SeenNode | undefined, wanted: string): boolean {
  return (known?.version ?? facts.version) !== wanted || facts.version !== wanted;
}

/** Whether a node's pods have nowhere to go: then they stay where they are, and go on while K3s is away. */
function isAlone(lab: Lab, seen: SeenK3s, name: string): boolean {
  if (!seen.cluster.answers) return lab.config.k3s.nodes.length === 1;
  return !seen.cluster.nodes.some((other) => other.name !== name && other.ready && !other.cordoned);
}

/** A run that was ended, or killed, may have left a node cordoned; the step looks, and takes back only what was ours. */
function uncordonReason(seen: SeenK3s, known: SeenNode | undefined, exists: boolean): string | undefined {
  if (known?.cordoned === 'by us') return 'a run that was ended left it cordoned';
  return exists && !seen.cluster.answers ? 'a run that was ended may have left it cordoned' : undefined;
}

/** A machine without K3s by the name of a node that the cluster knows is another one than that was. */
function forgetReason(lab: Lab, seen: SeenK3s, inCluster: SeenNode | undefined): string | undefined {
  if (inCluster) return 'the machine is a new one';
  // A cluster that cannot be asked now may know one. Where there is none, the step does nothing.
  const silent = !seen.cluster.answers && servers(lab.config).some(({ name }) => factsOf(seen, name).etcdData);
  return silent ? 'the machine is a new one, and the cluster cannot be asked yet' : undefined;
}

function installReason(installed: string | undefined, wanted: string, unit: boolean): string | undefined {
  if (!installed) return 'absent';
  if (installed !== wanted) return `${installed} is installed`;
  return unit ? undefined : 'its unit is missing';
}

function configReason(seen: SeenK3s, name: string, wanted: Record<string, unknown>, text: string): string | undefined {
  const { config, tokenHash, configPrivate } = factsOf(seen, name);
  if (config === undefined) return 'absent';
  if (!tokenHash || tokenHash !== seen.tokenHash) return 'token differs';
  if (config !== text) {
    const live = parseConfig(config);
    const keys = [...new Set([...Object.keys(wanted), ...Object.keys(live)])].filter(
      (key) => JSON.stringify(wanted[key]) !== JSON.stringify(live[key]),
    );
    return keys.length > 0 ? `${keys.join(', ')} ${keys.length === 1 ? 'differs' : 'differ'}` : 'its text differs';
  }
  return configPrivate ? undefined : 'others can read it';
}

function unreadyReason(seen: SeenK3s, node: SeenNode | undefined, state: string | undefined): string | undefined {
  if (state === 'activating') return 'it is starting';
  if (!seen.cluster.answers) return 'the API does not answer';
  if (!node) return 'it is not in the cluster yet';
  return node.ready ? undefined : 'it is not Ready';
}

/** What of a configuration is only read at a start. */
function fingerprintOf(config: Record<string, unknown>): string {
  const entries = Object.entries(config).filter(([key]) => !AT_REGISTRATION.includes(key));
  return createHash('sha256').update(JSON.stringify(entries)).digest('hex');
}
