import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DeadlineError } from '../lib/errors.ts';
import { type GuestSeen, readGuest } from '../lib/observe/guests.ts';
import { readVms, settledVms, type VmSeen } from '../lib/observe/vms.ts';
import type { Answer, Outcome, PveReader } from '../lib/ports/types.ts';
import { fakePorts } from './fixtures/ports.ts';

const test = suite('looking at VMs and guests');

/** Proxmox with these answers by path; a text is an error. @param asked the paths, as they are asked for */
function proxmox(answers: Record<string, unknown>, asked: string[] = []): PveReader {
  return {
    get: async <T>(path: string) => {
      asked.push(path);
      const answer = answers[path];
      if (typeof answer === 'string') return { ok: false, reason: answer, status: 500 };
      return { ok: true, value: answer as T };
    },
  };
}

const listed = { vmid: 200, node: 'pve-02', type: 'qemu', status: 'running', name: 'a', tags: 'k3s', maxdisk: 5 };
const CONFIG = '/nodes/pve-02/qemu/200/config';

test('the list alone says name, lock, size and tags', async () => {
  const asked: string[] = [];
  const pve = proxmox({ '/cluster/resources': [{ ...listed, lock: 'backup' }] }, asked);
  assert.equal(await readVms(pve, () => false), {
    ok: true,
    value: [
      {
        ...{ vmid: 200, name: 'a', node: 'pve-02', kind: 'qemu', running: true, template: false },
        ...{ description: '', lock: 'backup', diskBytes: 5, tags: 'k3s' },
      },
    ],
  });
  assert.equal(asked, ['/cluster/resources']);
});

test('a configuration that is read knows better than the list', async () => {
  const config = { name: 'b', description: 'notes', template: 1 };
  const pve = proxmox({ '/cluster/resources': [{ ...listed, lock: 'clone', name: undefined }], [CONFIG]: config });
  const vms = await readVms(pve, ({ name }) => name === '');
  assert.ok(vms.ok);
  const [vm] = vms.value;
  assert.equal([vm?.name, vm?.description, vm?.lock, vm?.template], ['b', 'notes', undefined, true]);
});

test('one that cannot be read says why, and keeps what the list says', async () => {
  const pve = proxmox({ '/cluster/resources': [{ ...listed, lock: 'backup' }], [CONFIG]: 'Permission check failed' });
  const vms = await readVms(pve, () => true);
  assert.ok(vms.ok);
  assert.equal([vms.value[0]?.unread, vms.value[0]?.lock], ['Permission check failed', 'backup']);
});

test('a lock in the list is waited for', async () => {
  let looks = 0;
  const said: string[] = [];
  const pve = {
    get: async <T>() => {
      looks += 1;
      return { ok: true as const, value: [{ ...listed, lock: looks < 3 ? 'clone' : undefined }] as T };
    },
  };
  const held = (vms: readonly VmSeen[]): VmSeen[] => vms.filter(({ lock }) => lock);
  await settledVms(pve, fakePorts().clock, () => false, { wait: true, say: (text) => said.push(text), held });
  assert.is(looks, 3);
  assert.equal(said, ['waiting for Proxmox: VM 200 is locked (clone)']);
});

const AGENT = '/nodes/pve-02/qemu/200/agent/network-get-interfaces';
const interfaces = { result: [{ name: 'eth0', 'ip-addresses': [{ 'ip-address': '10.20.11.80' }] }] };
const SAYS = 'hostname: a\nstatus: done\nFilesystem 1K-blocks\n/dev/vda 1000 1 1 1% /\n';
const said = (stdout: string): Answer<Outcome> => ({ ok: true, value: { code: 0, stdout, stderr: '' } });

/** What is seen of VM 200, and how many commands it took. */
async function guest(
  running: boolean,
  agent: unknown,
  answer: Answer<Outcome> | Error,
): Promise<[GuestSeen, { commands: number; reads: number }]> {
  const asked: string[] = [];
  let commands = 0;
  const { ssh } = fakePorts({
    ssh: {
      read: async () => {
        commands += 1;
        if (answer instanceof Error) throw answer;
        return answer;
      },
    },
  });
  const vm = { name: 'a', node: 'pve-02', vmid: 200, running };
  const seen = await readGuest({ pve: proxmox({ [AGENT]: agent }, asked), ssh }, vm);
  return [seen, { commands, reads: asked.length }];
}

test('a guest in one read and one command', async () => {
  const [seen, counts] = await guest(true, interfaces, said(SAYS));
  assert.equal(seen, {
    running: true,
    agent: { ok: true, value: ['10.20.11.80'] },
    ssh: { ok: true, value: true },
    ...{ hostname: 'a', cloudInit: 'done', rootBytes: 1000 * 1024 },
  });
  assert.equal(counts, { commands: 1, reads: 1 });
});

test('one that the list takes for stopped, and that runs', async () => {
  const [seen, counts] = await guest(false, interfaces, said(SAYS));
  assert.equal([seen.running, seen.agent.ok, seen.ssh.ok], [true, true, true]);
  assert.equal(counts, { commands: 1, reads: 1 });
});

test('one that is stopped is not waited for by SSH', async () => {
  const [seen, counts] = await guest(false, 'VM 200 is not running', said(SAYS));
  assert.equal([seen.running, seen.agent.ok, seen.ssh.ok], [false, false, false]);
  assert.equal(counts, { commands: 0, reads: 1 });
});

test('one that the list takes for running, and that was just stopped', async () => {
  const [seen] = await guest(true, 'VM 200 is not running', { ok: false, reason: 'no route to host' });
  assert.equal([seen.running, seen.ssh], [false, { ok: false, reason: 'VM 200 is not running' }]);
});

test('one whose agent is silent runs all the same', async () => {
  const [seen] = await guest(true, 'QEMU guest agent is not running', said(SAYS));
  assert.equal([seen.running, seen.agent.ok, seen.hostname], [true, false, 'a']);
});

test('one whose shell hangs is one that does not answer', async () => {
  const [seen] = await guest(true, interfaces, new DeadlineError('sh -c on a', 30));
  assert.equal([seen.agent.ok, seen.ssh], [true, { ok: false, reason: 'sh -c on a: not within 30 s' }]);
});

test('a guest that says nothing of use', async () => {
  const [seen] = await guest(true, interfaces, said('sh: cloud-init: not found\n'));
  assert.equal([seen.hostname, seen.cloudInit, seen.rootBytes], [undefined, undefined, undefined]);
});

test.run();
