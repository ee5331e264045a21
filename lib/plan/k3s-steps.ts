import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import { CONFIG_FILE, withToken } from '../render/k3s-config.ts';
import { NOTE, PLACE } from '../render/k3s-files.ts';
import type { Step } from '../step.ts';
import { type AirgapFile, airgapFiles, BINARY } from './k3s-airgap.ts';
import { DRAIN_DEADLINE } from './k3s-drain.ts';
import { factsOf } from './k3s-join.ts';
import type { LostMajority } from './k3s-members.ts';
import type { NodeWork } from './k3s-node.ts';
import { LOOKS_AGAIN, OURS, resetSteps } from './k3s-reset.ts';
import type { SeenK3s } from './k3s-seen.ts';

const SCRIPT_ON_HOST = `${OURS}/k3s-install.sh`;
/** What a node was started with last: it lies outside of K3s's own folders. */
export const STAMP = `${OURS}/k3s-config.sha256`;
/** Seconds until a node has to be up: images are pulled, and a join waits for etcd. */
const READY = 600;
/** Seconds in which K3s has to end. */
const STOP = 120;

/** What the steps of all nodes have in common. */
export type Around = {
  seen: SeenK3s;
  /** Ids of steps that make the token, fetch the script, note hashes, save a snapshot, where the plan has them. */
  token: string[];
  script: string[];
  snapshot: string[];
  /** The install script on this machine. */
  file: string;
  lost?: LostMajority;
  /** Who is left of etcd while a server restarts, by its name. */
  arithmetic: ReadonlyMap<string, string>;
};

/**
 * The steps of a node.
 * @param gate what must be well before the unit is started, and before an existing node is touched at all
 */
export function nodeSteps(lab: Lab, work: NodeWork, gate: readonly string[], around: Around): Step[] {
  const { node, unit } = work;
  const { version } = lab.config.k3s;
  const host = node.name;
  const id = (part: string): string => `${host}/${part}`;
  const wait = [...(work.exists ? gate : []), ...(work.upgrade ? around.snapshot : [])];
  const steps: Step[] = work.labels.map((step) => ({ ...step, after: [...gate] }));
  const made = (...parts: string[]): string[] => parts.map(id).filter((one) => steps.some((step) => step.id === one));
  const add = (
    part: string,
    why: string | undefined,
    title: string,
    after: string[],
    action: Step['action'],
    more: Partial<Step> = {},
  ): void => {
    if (why) steps.push({ id: id(part), title, why, host, after, ...more, action });
  };
  const remote = (argv: string[], deadline: number): Step['action'] => ({
    ...{ kind: 'remote', host, argv, sudo: true, deadline },
  });
  const root = { mode: '0600', owner: 'root:root' };

  add('config', work.config, `write ${CONFIG_FILE}`, [...around.token, ...wait, ...made('labels', 'taints')], {
    ...{ kind: 'upload', host, path: CONFIG_FILE, content: withToken(work.text), ...root },
  });
  add('script', work.install, 'bring the install script', [...around.script, ...wait], {
    ...{ kind: 'upload', host, path: SCRIPT_ON_HOST, content: { file: around.file }, ...root, mode: '0700' },
  });
  const files = airgapFiles(lab);
  const sha256 = ({ path }: AirgapFile): string => around.seen.airgap?.[path] ?? '';
  for (const file of files.filter(({ what }) => work[what === 'images' ? 'images' : 'binary'])) {
    const [path, mode] = file.what === 'binary' ? [`${BINARY}.new`, '0755'] : [file.remote, '0644'];
    const why = file.what === 'binary' ? work.binary : work.images;
    add(file.what, why, `bring ${file.named}`, wait, {
      ...{ kind: 'upload', host, path, content: { file: file.path, sha256: sha256(file) }, ...root, mode },
    });
    const place = [`${BINARY}.new`, BINARY, sha256(file), version];
    if (file.what === 'binary')
      add('place', why, `put it into ${BINARY}`, made('binary'), remote(['sh', '-c', PLACE, 'sh', ...place], 120));
  }
  // The unit is started by us, after the configuration: the script must not do it, and 0 from it says nothing.
  const variables = [`INSTALL_K3S_VERSION=${version}`, 'INSTALL_K3S_SKIP_START=true'];
  if (files.length > 0) variables.push('INSTALL_K3S_SKIP_DOWNLOAD=true');
  add(
    'install',
    work.install,
    `install K3s ${version}`,
    made('script', 'config', 'place', 'images'),
    remote(['env', ...variables, 'sh', SCRIPT_ON_HOST, node.role], 900),
  );
  const list = files.flatMap((file) => [file.remote, sha256(file)]);
  add(
    'note',
    files.length > 0 ? work.note : undefined,
    `note the hashes of ${files.map(({ named }) => named).join(' and ')}`,
    [...wait, ...made('install', 'images')],
    remote(['sh', '-c', NOTE, 'sh', `${OURS}/k3s-files`, ...list], 120),
  );
  add('enable', work.enable, `enable ${unit}`, made('install'), remote(['systemctl', 'enable', unit], 60));
  add('forget', work.forget, 'delete its old Node (and etcd member)', [...gate], {
    ...{ kind: 'operation', name: 'forget-node', args: { node: host }, deadline: 150 },
  });
  const prepared = [...gate, ...made('config', 'install', 'enable', 'forget')];
  add('drain', work.drain, 'move its pods to other nodes', prepared, {
    ...{ kind: 'operation', name: 'drain', args: { node: host }, deadline: DRAIN_DEADLINE },
  });
  // Stopped first, and waited for: after a restart that is not waited for, the old process may still look ready.
  const arithmetic = around.arithmetic.get(host);
  const lost = work.reset ? (around.lost?.lost ?? []) : undefined;
  const operation = (name: string, args: Record<string, unknown>, deadline: number): Step['action'] => ({
    ...{ kind: 'operation', name, args: { node: host, unit, ...args }, deadline },
  });
  const [stop, does] = ((): [Step['action'], string | undefined] => {
    if (node.role === 'agent') return [remote(['systemctl', 'stop', unit], STOP), undefined];
    if (!lost) return [operation('stop-server', {}, STOP + 60), arithmetic];
    return [operation('stop-for-reset', { lost }, STOP + 120), LOOKS_AGAIN];
  })();
  add('stop', work.stop, `stop ${unit}`, [...prepared, ...made('drain')], stop, does ? { does: [does] } : {});
  if (work.reset) steps.push(...resetSteps(host, work.reset, lost ?? [], made('config', 'stop')));
  // systemd would wait for a node that never gets ready as long as it takes: `ready` waits, with a deadline.
  add(
    'start',
    work.start,
    `start ${unit}`,
    [...prepared, ...made('stop', 'reset')],
    remote(['systemctl', 'start', '--no-block', unit], 60),
  );
  add('stamp', work.stamp, `note the configuration in ${STAMP}`, made('start'), {
    ...{ kind: 'upload', host, path: STAMP, content: `${work.fingerprint}\n`, ...root, mode: '0644' },
  });
  add('ready', work.ready, `wait until it is Ready at ${version}`, [...gate, ...made('start')], {
    ...{ kind: 'operation', name: 'node-ready', deadline: READY + 60 },
    args: {
      ...{
        node: host,
        unit,
        server: node.role === 'server',
        version,
        seconds: READY,
        started: work.start !== undefined,
      },
      alone: isLastHolder(lab, around.seen, node),
    },
  });
  add('uncordon', work.uncordon, 'let pods in again', [...gate, ...made('ready')], {
    ...{ kind: 'operation', name: 'uncordon', args: { node: host }, deadline: 90 },
  });
  add('unmark', work.unmark, 'take our mark of a cordon off it', [...gate, ...made('ready')], {
    ...{ kind: 'operation', name: 'uncordon', args: { node: host }, deadline: 90 },
  });
  return steps;
}

/** Whether no other server has etcd's data. */
function isLastHolder(lab: Lab, seen: SeenK3s, { name }: K3sNode): boolean {
  const holders = servers(lab.config).filter((server) => factsOf(seen, server.name).etcdData);
  return holders.length === 1 && holders[0]?.name === name;
}
