import type { Lab } from '../lab-context.ts';
import { HOLD_FILE, HOLD_TEXT } from '../render/k3s-uninstall.ts';
import type { Step } from '../step.ts';
import { DRAIN_DEADLINE, DRAIN_MINUTES, emptiedText, movable } from './k3s-drain.ts';
import { etcdLines, hasServerUnit, orphanLines } from './k3s-leftovers.ts';
import { untiedLines, volumeLines } from './losses.ts';
import { planRelease } from './network.ts';
import type { Course, RemovalArgs, RemovalSeen } from './remove-node.ts';
import { uninstallStep } from './uninstall-k3s.ts';

/** What deletes a Node. Not waited for: K3s takes its member out of etcd meanwhile, and the API may be silent. */
export const deleteNode = (name: string): string[] => ['delete', 'node', name, '--ignore-not-found', '--wait=false'];

const IS_GONE = 'found=$(k3s kubectl get node "$1" --ignore-not-found -o name) && [ -z "$found" ]';

/** Out of the cluster, by a server that stays. */
export function clusterSteps(
  seen: RemovalSeen,
  { name, skipDrain }: RemovalArgs,
  { node, isServer, api }: Course,
): Step[] {
  const { cluster, machine } = seen;
  if (!node || !api || !cluster.answers) return [];
  const steps: Step[] = [];
  const add = (part: string, title: string, why: string, action: Step['action'], more: Partial<Step> = {}): void => {
    const after = steps.map(({ id }) => id);
    steps.push({ id: `${name}/${part}`, title, why, host: name, after, ...more, action });
  };
  const kubectl = (deadline: number, ...argv: string[]): Step['action'] => ({
    ...{ kind: 'remote', host: api, argv: ['k3s', 'kubectl', ...argv], sudo: true, deadline },
  });
  const why = 'it is taken out of the cluster';
  add('cordon', 'cordon it: no new pods', why, kubectl(60, 'cordon', name));
  const gone = movable(cluster.pods);
  if (node.ready && machine.ok && !skipDrain)
    add(
      'drain',
      `drain it: its pods end, and run elsewhere, within ${DRAIN_MINUTES} minutes`,
      `${gone.length} ${gone.length === 1 ? 'pod runs' : 'pods run'} on it`,
      { kind: 'operation', name: 'drain-leaving', args: { node: name, api }, deadline: DRAIN_DEADLINE },
    );
  if (isServer && machine.ok) {
    add(
      'hold',
      `write ${HOLD_FILE}: systemd does not start k3s again when it ends`,
      'a server that was taken out of etcd would join anew',
      {
        ...{ kind: 'upload', host: name, path: HOLD_FILE, content: HOLD_TEXT, mode: '0644', owner: 'root:root' },
      },
    );
    add('held', 'systemctl daemon-reload', 'the file is new', {
      ...{ kind: 'remote', host: name, argv: ['systemctl', 'daemon-reload'], sudo: true, deadline: 60 },
    });
    if (hasServerUnit(machine.value))
      add('boot', 'keep k3s from starting with the machine', 'a reboot before K3s is off it would let it join anew', {
        ...{ kind: 'remote', host: name, argv: ['systemctl', 'disable', 'k3s'], sudo: true, deadline: 60 },
      });
  }
  add(
    'delete',
    `delete its Node${isServer ? ', its password and its member of etcd' : ' and its password'}`,
    why,
    // etcd's members are counted once more right before: the drain took its time.
    isServer
      ? { kind: 'operation', name: 'delete-server', args: { node: name, api, held: machine.ok }, deadline: 180 }
      : kubectl(60, ...deleteNode(name)),
    { destroys: lost(seen, name, isServer), confirm: [name] },
  );
  // K3s tidies up behind it before it is gone; etcd may elect a leader meanwhile, and the API not answer.
  add('gone', 'wait until its Node is gone', 'it goes when K3s has forgotten it', {
    ...{ kind: 'wait', deadline: 180 },
    for: { host: api, argv: ['sh', '-c', IS_GONE, 'sh', name], sudo: true },
  });
  return steps;
}

/** K3s off its machine, where that answers. */
export function machineSteps({ machine, cluster }: RemovalSeen, name: string, { node }: Course): Step[] {
  if (!machine.ok || machine.value.length === 0 || !cluster.answers) return [];
  const step = uninstallStep(name, `${machine.value.length} things of K3s are on it`, node ? [`${name}/gone`] : []);
  // What is lost with it is said where its Node goes; a run that goes on from there has no Node any more.
  const destroys = [`${name}: what K3s left on its disk`, ...orphanLines(name, machine.value)];
  return [node ? step : { ...step, destroys, confirm: [name] }];
}

/** Of a machine that is gone, and a node that homelab.yaml does not have any more. */
export function leaseSteps(lab: Lab, seen: RemovalSeen, name: string, after: string[]): Step[] {
  const isOurs = lab.config.k3s.nodes.some((one) => one.name === name);
  if (isOurs || seen.machine.ok || !lab.lock.leases.some((one) => one.name === name)) return [];
  const { steps } = planRelease(lab, seen.network, name, false);
  return steps.map((step) => ({
    ...step,
    after: [...after, ...(step.after ?? [])],
    ...(step.destroys && { confirm: [name] }),
  }));
}

function lost({ cluster, losses, machine }: RemovalSeen, name: string, isServer: boolean): string[] {
  const pods = cluster.answers ? movable(cluster.pods) : [];
  const bare = pods.filter((pod) => pod.bare).map((pod) => pod.name);
  const emptied = emptiedText(pods);
  return [
    ...(volumeLines(name, losses) ?? [`${name}: every volume of local-path on it`]),
    ...untiedLines(losses),
    ...(bare.length > 0 ? [`pods that nothing makes again: ${bare.join(', ')}`] : []),
    ...(emptied ? [emptied] : []),
    isServer ? `the etcd member ${name}` : `${name}, as a node of the cluster`,
    ...(machine.ok ? [`what K3s has on the machine of ${name}`, ...etcdLines(name, machine.value)] : []),
  ];
}
