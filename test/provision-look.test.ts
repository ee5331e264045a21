import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { DeadlineError } from '../lib/errors.ts';
import { type GuestSeen, readGuest } from '../lib/observe/guests.ts';
import { askTerraform } from '../lib/observe/terraform.ts';
import { readVms, settledVms, type VmSeen } from '../lib/observe/vms.ts';
import { type Chosen, lockedForProvision } from '../lib/plan/provision-locks.ts';
import type { StateVm } from '../lib/plan/terraform-json.ts';
import type { Answer, Outcome, PveReader } from '../lib/ports/types.ts';
import { marker } from '../lib/render/tfvars.ts';
import { Secrets } from '../lib/secret.ts';
import { fakePorts } from './fixtures/ports.ts';
import { storagesOf, vm } from './provision-fixture.ts';
import { done, lab, templates, variables, wanted } from './provision-seen.ts';

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

const { config } = lab;
const [cp, other] = config.k3s.nodes;
const at = (change: Partial<VmSeen>): VmSeen =>
  vm({ vmid: cp!.vmid, name: cp!.name, node: cp!.node, lock: 'backup', ...change });
const mark = (lab: string): string => marker(lab, cp!.name);
const stateVm: StateVm = { name: cp!.name, vmid: cp!.vmid, node: cp!.node, tainted: false };

const locks: [string, VmSeen, boolean, StateVm[]?, Partial<Chosen>?][] = [
  ['ours by its mark', at({ description: mark(config.name) }), true],
  ['ours by the state', at({}), true, [stateVm]],
  [
    'ours by the state, with the name it had before',
    at({ name: 'old' }),
    true,
    [{ ...stateVm, attributes: { name: 'old' } }],
  ],
  ['ours, with another vmid now', at({ vmid: 299 }), true, [{ ...stateVm, vmid: 299 }]],
  ['free', at({ description: mark(config.name), lock: undefined }), false],
  ['being cloned', at({ lock: 'clone' }), true],
  ['being cloned, without a name', at({ lock: 'clone', name: '' }), true],
  ['being made, without a name', at({ lock: 'create', name: `VM ${cp!.vmid}` }), true],
  ['of another lab', at({ description: mark('other') }), false],
  ['of another lab, being cloned', at({ description: mark('other'), lock: 'clone' }), false],
  ['a stranger at our VMID', at({ name: 'web' }), false],
  ['a stranger that is being cloned', at({ name: 'web', lock: 'clone' }), false],
  ['a stranger where the state had ours', at({ name: 'web' }), false, [stateVm]],
  ['a stranger of our name', at({}), false],
  ['a stranger of our name at another VMID', at({ vmid: 299 }), false],
  ['a stranger that is to be ours', at({ name: 'web' }), true, [], { imports: [cp!.name] }],
  ['in the limit', at({}), true, [stateVm], { limit: [cp!.name] }],
  ['a template that is being made', { ...templates[0]!, lock: 'clone' }, true],
  ['a template under --destroy', { ...templates[0]!, lock: 'clone' }, false, [], { destroy: true }],
  ['ours under --destroy', at({}), true, [stateVm], { destroy: true }],
  ['outside of the limit', at({}), false, [stateVm], { limit: [other!.name] }],
];
for (const [name, seen, isHeld, state = [], chosen] of locks)
  test(`a lock ${isHeld ? 'is' : 'is not'} waited for: ${name}`, () => {
    const held = lockedForProvision(
      lab,
      [seen],
      { state, storages: storagesOf(lab), wanted },
      { imports: [], ...chosen },
    );
    assert.equal(held, isHeld ? [seen] : []);
  });

const HELD =
  'Error: Error acquiring the state lock\n\nLock Info:\n  Operation: OperationTypeApply\n  Who: ops@laptop\n';
const asks: [string, boolean, boolean, string[]][] = [
  ['a run waits', true, true, ['-lock-timeout=0s', '-lock-timeout=300s']],
  ['a look that changes nothing does not', false, true, ['-lock-timeout=0s']],
  ['a run that looks at the VMs no more', true, false, ['-lock-timeout=0s', '-lock-timeout=300s']],
];
for (const [name, wait, refresh, timeouts] of asks)
  test(`Terraform's state is held: ${name}`, async () => {
    const calls: string[][] = [];
    const told: string[] = [];
    const { exec } = fakePorts({
      exec: {
        run: async (argv) => {
          calls.push([...argv]);
          return { code: 1, stdout: '', stderr: HELD };
        },
      },
    });
    const context = { secrets: new Secrets(), say: (text: string) => told.push(text) };
    const ask = { variables, targets: [], refresh, wait };
    const answer = await askTerraform(lab, { exec }, context, done.terraform, ask);
    assert.equal(answer, { ok: false, reason: HELD.trim() });
    assert.equal(
      calls.map((argv) => argv.find((one) => one.startsWith('-lock-timeout'))),
      timeouts,
    );
    assert.equal(
      calls.map((argv) => argv.includes('-refresh=false')),
      timeouts.map(() => !refresh),
    );
    assert.is(told.length, wait ? 1 : 0);
  });

test.run();
