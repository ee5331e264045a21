import { createHash } from 'node:crypto';
import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { CONFIG_FILE, k3sConfig, k3sConfigText, withToken } from '../render/k3s-config.ts';
import type { Step } from '../step.ts';
import { factsOf, joinOf, parseConfig } from './k3s-join.ts';
import { labelSteps } from './k3s-labels.ts';
import type { SeenK3s, SeenNode } from './k3s-seen.ts';

const SCRIPT_ON_HOST = '/var/lib/homelab/k3s-install.sh';
const STAMP = '/var/lib/homelab/k3s-config.sha256';
/** Seconds until a node has to be up: images are pulled, and a join waits for etcd. */
const READY = 600;
/** Labels and taints are read at registration; a change of them restarts nothing. */
const AT_REGISTRATION = ['node-label', 'node-taint'];

/** What has to be done to a node, each with its reason; undefined: nothing. */
export type NodeWork = {
  node: K3sNode;
  unit: 'k3s' | 'k3s-agent';
  /** Has run before: then it is changed only when all before it are well again. */
  exists: boolean;
  config?: string;
  install?: string;
  enable?: string;
  stop?: string;
  start?: string;
  stamp?: string;
  ready?: string;
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
  const config = k3sConfig(lab, node, joinOf(lab, seen, node));
  const fingerprint = fingerprintOf(config);
  const text = k3sConfigText(config);
  const inCluster = seen.cluster.answers ? seen.cluster.nodes.find(({ name }) => name === node.name) : undefined;
  const fresh = seen.hosts[node.name]?.reachable === true && !facts.joined && !facts.etcdData;
  const forget = fresh && inCluster ? 'the machine is a new one' : undefined;

  const state = facts.units[unit];
  const { version: wanted } = lab.config.k3s;
  const install = installReason(facts.version, wanted, state !== undefined);
  const configWhy = configReason(seen, node.name, config, text);
  const liveFingerprint = facts.startedWith ?? (facts.config && fingerprintOf(parseConfig(facts.config)));
  const start = ((): string | undefined => {
    if (!state) return 'it was never started';
    if (state.state !== 'active' && state.state !== 'activating') return `${unit} is ${state.state || 'in no state'}`;
    if (install) return 'new version';
    if (inCluster && facts.joined && inCluster.version !== wanted) return `${inCluster.version} still runs`;
    if (liveFingerprint !== fingerprint) return 'config.yaml changed since its last start';
    return configWhy === 'token differs' ? configWhy : undefined;
  })();
  const ready = start ? 'it is started' : unreadyReason(seen, inCluster, state?.state);
  const known = forget ? undefined : inCluster;
  return {
    ...{ node, unit, text, fingerprint, install, start, ready, forget },
    exists: facts.joined || facts.etcdData,
    config: configWhy,
    stop: start && (state?.state === 'active' || state?.state === 'activating') ? start : undefined,
    enable: state?.enabled ? undefined : 'it does not start with the machine',
    stamp: start || facts.startedWith !== fingerprint ? 'remembers what it was started with' : undefined,
    labels: known && seen.cluster.answers ? labelSteps(node, known, seen.cluster.server, facts.config) : [],
  };
}

/**
 * The steps of a node.
 * @param gate what must be well before the unit is started, and before an existing node is touched at all
 * @param has ids of the steps that make the token and fetch the script, where they are in the plan
 */
export function nodeSteps(
  lab: Lab,
  work: NodeWork,
  gate: readonly string[],
  has: { token: string[]; script: string[]; file: string },
): Step[] {
  const { node, unit } = work;
  const host = node.name;
  const id = (part: string): string => `${host}/${part}`;
  const wait = work.exists ? gate : [];
  const steps: Step[] = work.labels.map((step) => ({ ...step, after: [...gate] }));
  const made = (...parts: string[]): string[] => parts.map(id).filter((one) => steps.some((step) => step.id === one));
  const add = (part: string, why: string | undefined, title: string, after: string[], action: Step['action']): void => {
    if (why) steps.push({ id: id(part), title, why, host, after, action });
  };
  const remote = (argv: string[], deadline: number): Step['action'] => ({
    kind: 'remote',
    host,
    argv,
    sudo: true,
    deadline,
  });

  add('config', work.config, `write ${CONFIG_FILE}`, [...has.token, ...wait, ...made('labels', 'taints')], {
    ...{ kind: 'upload', host, path: CONFIG_FILE, content: withToken(work.text), mode: '0600', owner: 'root:root' },
  });
  add('script', work.install, 'bring the install script', [...has.script, ...wait], {
    ...{ kind: 'upload', host, path: SCRIPT_ON_HOST, content: { file: has.file }, mode: '0700', owner: 'root:root' },
  });
  const { version } = lab.config.k3s;
  const variables = [`INSTALL_K3S_VERSION=${version}`, 'INSTALL_K3S_SKIP_START=true'];
  // On an existing node the unit is restarted by us, after the configuration: the script must not do it.
  add(
    'install',
    work.install,
    `install K3s ${version}`,
    made('script', 'config'),
    remote(['env', ...variables, 'sh', SCRIPT_ON_HOST, node.role], 900),
  );
  add('enable', work.enable, `enable ${unit}`, made('install'), remote(['systemctl', 'enable', unit], 60));
  if (work.forget)
    steps.push({
      ...{ id: id('forget'), title: 'delete its old Node (and etcd member)', why: work.forget, host, after: [...gate] },
      action: {
        ...{ kind: 'kube', verb: 'delete', deadline: 120 },
        objects: [{ apiVersion: 'v1', kind: 'Node', metadata: { name: host } }],
      },
    });
  // Stopped first, and waited for: after a restart that is not waited for, the old process may still look ready.
  add(
    'stop',
    work.stop,
    `stop ${unit}`,
    [...gate, ...made('config', 'install', 'enable', 'forget')],
    remote(['systemctl', 'stop', unit], 120),
  );
  // systemd would wait for a node that never gets ready as long as it takes: `ready` waits, with a deadline.
  add(
    'start',
    work.start,
    `start ${unit}`,
    [...gate, ...made('config', 'install', 'enable', 'forget', 'stop')],
    remote(['systemctl', 'start', '--no-block', unit], 60),
  );
  add('stamp', work.stamp, `note the configuration in ${STAMP}`, made('start'), {
    ...{ kind: 'upload', host, path: STAMP, content: `${work.fingerprint}\n`, mode: '0644', owner: 'root:root' },
  });
  add('ready', work.ready, `wait until it is Ready at ${version}`, [...gate, ...made('start')], {
    ...{ kind: 'operation', name: 'node-ready', deadline: READY + 30 },
    args: { node: host, unit, server: node.role === 'server', version, seconds: READY },
  });
  return steps;
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
