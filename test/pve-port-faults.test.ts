import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import type { Fault } from '../lib/lab/pve/index.ts';
import { type TestLab, testLab } from './pve-fixture.ts';
import { failure, portOf } from './pve-port-fixture.ts';

/** What can go wrong with the API, one by one: how it is named, and that a change is sent once. */
const test = suite<{ lab: TestLab }>('the Proxmox port, and faults of the API');
const CLONE = '/nodes/pve-01/qemu/9000/clone';
const POST = { method: 'POST', path: /clone$/ };
const STATUS = { method: 'GET', path: /tasks\/.*\/status$/ };

test.before.each(async (context) => {
  context.lab = await testLab();
  context.lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'ubuntu-24.04', storage: 'local-zfs', diskGib: 20 });
});
test.after.each(async ({ lab }) => {
  const { problems } = lab.pve;
  await lab.close();
  assert.deepEqual(problems, []);
});

const posts = (lab: TestLab) => lab.pve.requests.filter(({ method }) => method === 'POST').length;
const isThere = (lab: TestLab, vmid: number) => lab.pve.snapshot().vms.some((vm) => vm.vmid === vmid);
const clone = (lab: TestLab, longestWait: number) =>
  portOf(lab, { longestWait }).call('POST', CLONE, { newid: 120, full: 1, name: 'x' });

/** The call is done all the same: what is lost is looked for, what fails for a moment is asked again. */
const survived: [string, Fault, number?][] = [
  ['a slow answer', { kind: 'slow', request: {}, ms: 300 }],
  ['an answer that is lost', { kind: 'drop', request: POST, when: 'after' }],
  ['an answer that is cut', { kind: 'drop', request: POST, when: 'during' }],
  ...([502, 596, 599] as const).map((status): [string, Fault] => [
    `a proxy that says ${status} of what happened`,
    { kind: 'gateway', request: POST, status, when: 'after' },
  ]),
  ['an answer that comes too late', { kind: 'slow', request: POST, ms: 4000 }],
  ['polls that are cut', { kind: 'drop', request: STATUS, when: 'before' }, 3],
  ['polls whose answers are cut', { kind: 'drop', request: STATUS, when: 'during' }, 3],
  ['polls that a proxy cannot pass on', { kind: 'gateway', request: STATUS, status: 595 }, 4],
];
for (const [name, fault, times = 1] of survived)
  test(`survived: ${name}`, async ({ lab }) => {
    lab.pve.faults.set(name, fault, times);
    const upid = await clone(lab, 3);
    assert.match(String(upid), /^UPID:pve-01:.*:qmclone:9000:homelab@pve!toolkit:$/);
    assert.deepEqual(lab.pve.faults.names(), [], 'the fault has struck');
    assert.ok(isThere(lab, 120));
    assert.deepEqual(lab.pve.snapshot().locks, [], 'its task has ended');
    assert.equal(posts(lab), 1);
  });

type Words = { message?: RegExp; cause?: RegExp; fix?: RegExp; output?: RegExp };
const UNKNOWN: Words = {
  cause: /^there was no answer: unknown whether it happened; pve-01 has no task of it, so it seems that it did not$/,
  fix: /run the same command again: it looks first/,
};
/** The call fails, in these words, and is not repeated. */
const refused: [string, Fault, Words][] = [
  ['a connection that is cut before', { kind: 'drop', request: POST, when: 'before' }, UNKNOWN],
  [
    'a proxy that says 599 of what did not happen',
    { kind: 'gateway', request: POST, status: 599 },
    { message: /clone: pve-01 says: Too many redirections \(599\)$/, ...UNKNOWN },
  ],
  ['a proxy that says 502', { kind: 'gateway', request: POST, status: 502 }, UNKNOWN],
  [
    'a proxy without a route',
    { kind: 'gateway', request: POST, status: 595 },
    { message: /pve-01 says: No route to host \(595\)/, cause: /^nothing was sent$/, fix: /when the node answers/ },
  ],
  [
    'an answer that does not come in time',
    { kind: 'slow', request: { method: 'POST' }, ms: 7000 },
    { message: /clone: pve-01 \(10\.20\.11\.11:8006\): no answer within 2 s$/, cause: /unknown whether it happened/ },
  ],
  [
    'a token that was revoked',
    { kind: 'auth' },
    { message: /does not accept the token homelab@pve!toolkit \(401/, fix: /PROXMOX_TOKEN_SECRET with Datacenter/ },
  ],
  [
    'a missing privilege',
    { kind: 'deny', request: POST, path: '/vms/120', privilege: 'VM.Allocate' },
    { message: /Permission check failed \(\/vms\/120, VM\.Allocate\)$/, fix: /lacks VM\.Allocate on \/vms\/120/ },
  ],
  [
    'a VM that is locked',
    { kind: 'lock', vmid: 9000, lock: 'backup' },
    { message: /VM is locked \(backup\)$/, fix: /something else works on that VM/ },
  ],
  [
    'a task that fails',
    { kind: 'fail-task', type: 'qmclone', message: 'the pool is on fire' },
    { message: /task qmclone on pve-01 failed: .*the pool is on fire$/, output: /TASK ERROR/, fix: /UPID:pve-01:/ },
  ],
  [
    'a task whose worker is killed',
    { kind: 'fail-task', type: 'qmclone', message: 'unexpected status' },
    { message: /unexpected status$/, fix: /its worker was killed/ },
  ],
  [
    'a task that does not end',
    { kind: 'hang-task', type: 'qmclone' },
    {
      message: /clone: task qmclone on pve-01: not within 2 s$/,
      cause: /last seen: task qmclone is running/,
      output: /creating a clone of VM 9000/,
      fix: /pvesh delete \/nodes\/pve-01\/tasks\/UPID:pve-01:\S+; then run the same command again/,
    },
  ],
  [
    'a task that vanishes',
    { kind: 'vanish-task', type: 'qmclone' },
    { message: /it has vanished, .*; its outcome is unknown$/, output: /^UPID:pve-01/, fix: /it looks first/ },
  ],
  [
    'a task that may not be seen any more',
    { kind: 'deny', request: STATUS, path: '/nodes/pve-01', privilege: 'Sys.Audit' },
    { message: /no longer lets it be seen; its outcome is unknown$/, cause: /Sys\.Audit/ },
  ],
];
for (const [name, fault, words] of refused)
  test(`named: ${name}`, async ({ lab }) => {
    lab.pve.faults.set(name, fault);
    const { message, likelyCause, fix, output } = await failure(clone(lab, 2));
    assert.match(message, /^POST \/nodes\/pve-01\/qemu\/9000\/clone: /);
    assert.match(message, words.message ?? /./);
    assert.match(likelyCause ?? '', words.cause ?? /(?:)/);
    assert.match(fix ?? '', words.fix ?? /(?:)/);
    assert.match(output ?? '', words.output ?? /(?:)/);
    // One that is still under way is not in the emulator's list.
    assert.ok(posts(lab) <= 1);
  });

test('of two clones of one template, the answer that was lost finds its own task', async ({ lab }) => {
  const pve = portOf(lab, { longestWait: 10 });
  const first = await pve.call('POST', CLONE, { newid: 120, full: 1 });
  lab.pve.faults.set('cut', { kind: 'drop', request: POST, when: 'after' }, 1);
  const second = await pve.call('POST', CLONE, { newid: 121, full: 1 });
  assert.notEqual(first, second);
  assert.ok(isThere(lab, 121));
  lab.pve.faults.set('cut', { kind: 'drop', request: POST, when: 'before' }, 1);
  const error = await failure(
    portOf(lab, { longestWait: 1 }).call('POST', '/nodes/pve-01/qemu/121/clone', { newid: 122 }),
  );
  assert.match(error.likelyCause ?? '', /pve-01 has no task of it/);
});

test('a download whose answer was lost is found by its file', async ({ lab }) => {
  lab.pve.faults.set('cut', { kind: 'drop', request: { path: /download-url$/, method: 'POST' }, when: 'after' });
  const params = { content: 'iso', filename: 'u.iso', url: 'https://releases.ubuntu.com/u.iso' };
  const upid = await portOf(lab).call('POST', '/nodes/pve-02/storage/local/download-url', params);
  assert.match(String(upid), /^UPID:pve-02:.*:download:u\.iso:/);
});

test('a change that is no task and whose answer was lost is not claimed to be known', async ({ lab }) => {
  lab.pve.faults.set('cut', { kind: 'drop', request: { method: 'PUT' }, when: 'after' });
  const error = await failure(portOf(lab).call('PUT', '/nodes/pve-01/qemu/9000/config', { cores: 3 }));
  assert.equal(error.likelyCause, 'there was no answer: unknown whether it happened');
});

test('a read whose proxy fails is answered by another node', async ({ lab }) => {
  const pve = portOf(lab);
  for (const status of [502, 596, 599] as const) {
    lab.pve.faults.set('gateway', { kind: 'gateway', request: {}, status }, 1);
    assert.equal((await pve.get('/cluster/resources')).ok, true);
  }
  lab.pve.faults.set('gateway', { kind: 'gateway', request: {}, status: 502 });
  const answer = await pve.get('/version');
  assert.ok(!answer.ok && answer.status === 502);
  assert.match(answer.reason, /^no Proxmox node answers: pve-01 says: Bad Gateway \(502\); pve-02 says: /);
});

test('a read that does not answer in time says so, of the node that it is about', async ({ lab }) => {
  lab.pve.faults.set('slow', { kind: 'slow', request: {}, ms: 900 });
  const answer = await portOf(lab, { longestWait: 0.3 }).get('/nodes/pve-02/storage');
  assert.ok(!answer.ok && answer.status === 0);
  assert.equal(answer.reason, 'pve-02 does not answer: pve-02 (10.20.11.12:8006): no answer within 0.3 s');
});

test('a node that was silent is asked last from then on', async ({ lab }) => {
  const pve = portOf(lab);
  lab.pve.faults.set('off', { kind: 'down', node: 'pve-01' });
  await pve.get('/version');
  const before = lab.pve.requests.length;
  await pve.get('/version');
  assert.deepEqual(
    lab.pve.requests.slice(before).map(({ node }) => node),
    ['pve-02'],
  );
});

test.run();
