import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { addressOf } from '../lookup.ts';
import type { GuestSeen } from '../observe/guests.ts';
import type { Step } from '../step.ts';
import type { VmChange } from './terraform-json.ts';

const GIB = 1024 ** 3;
/** The root file system of a grown disk: the EFI partition, /boot and ext4's own needs take a part. */
export const smallestRoot = (diskGib: number): number => (diskGib - 3.2) * 0.97 * GIB;

/**
 * From a VM that starts to one that can be used: its agent answers with the leased address, its SSH host key is
 * known through the agent, it answers by SSH, cloud-init is done, its file system fills its disk.
 * @param touched what Terraform does to it in this run; `unknown`: that is decided while applying
 * @param after the step that makes or changes VMs
 * @param growth templates/grow-root.sh, and whether Terraform grows its disk in this run
 */
export function guestSteps(
  lab: Lab,
  node: K3sNode,
  guest: GuestSeen | undefined,
  touched: VmChange['action'] | 'unknown' | undefined,
  after: string[],
  growth: { script: string; grows: boolean },
): Step[] {
  const { name, vmid } = node;
  const address = addressOf(lab, name);
  const id = (part: string): string => `${name}/${part}`;
  const reported = guest?.agent.ok === true && guest.agent.value.includes(address);
  const isNew = touched === 'create' || touched === 'replace' || (touched === 'unknown' && !guest);
  const keyIsKnown = guest?.ssh.ok === true && !isNew;
  const cloudInitDone = guest?.cloudInit === 'done' || guest?.cloudInit === 'degraded';
  const steps: Step[] = [];
  const add = (part: string, title: string, why: string, action: Step['action']): void => {
    const before = steps.at(-1);
    steps.push({ id: id(part), title, why, host: name, after: before ? [before.id] : after, action });
  };
  const target = { name, node: node.node, vmid, address };

  if (touched || !reported || !keyIsKnown)
    add('agent', `wait until its guest agent reports ${address}`, touched ? 'the VM changes' : reasonOf(guest), {
      kind: 'operation',
      name: 'agent',
      args: target,
      deadline: 600,
    });
  if (!keyIsKnown)
    add('host-key', 'learn its SSH host key from the guest agent', isNew ? 'the VM is new' : reasonOf(guest), {
      kind: 'operation',
      name: 'hostKey',
      args: target,
      deadline: 180,
    });
  if (touched || !keyIsKnown)
    add('ssh', 'wait until it answers by SSH', touched ? 'the VM changes' : reasonOf(guest), {
      kind: 'wait',
      for: { ssh: name },
      deadline: 300,
    });
  if (touched || !cloudInitDone)
    add(
      'cloud-init',
      'wait until cloud-init is done',
      cloudInitDone ? 'the VM changes' : (guest?.cloudInit ?? 'not seen'),
      {
        kind: 'operation',
        name: 'cloudInit',
        args: { name },
        deadline: 900,
      },
    );
  const root = guest?.rootBytes;
  const isSmall = root !== undefined && root < smallestRoot(node.disk_gib);
  // Where it grew by little, the size of the file system does not tell.
  if (!isNew && (isSmall || growth.grows))
    add(
      'grow-root',
      'grow its root file system to the end of its disk',
      root === undefined ? 'its disk grows' : `${Math.floor(root / GIB)} GiB of ${node.disk_gib} GiB`,
      { kind: 'remote', host: name, argv: ['sh', '-s'], stdin: growth.script, sudo: true, deadline: 300 },
    );
  return steps;
}

function reasonOf(guest: GuestSeen | undefined): string {
  if (!guest) return 'the VM is new';
  if (!guest.agent.ok) return guest.agent.reason;
  if (!guest.ssh.ok) return guest.ssh.reason;
  return `its agent reports ${guest.agent.value.join(', ') || 'no address'}`;
}
