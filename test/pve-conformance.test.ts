import { strict as assert } from 'node:assert';
import { Agent } from 'node:https';
import { suite } from 'uvu';
import { defaultLatency } from '../lib/lab/pve/types.ts';
import { ask, type Context, clone, configOf, freshLabs, inLab, QEMU } from './pve-client.ts';
import { SECRET, TOKEN } from './pve-fixture.ts';

/**
 * How Proxmox VE refuses, in its words, and without a change. A test's name starts with the rule that it pins: errors,
 * auth failure, bad params, permission, body on GET/DELETE, unknown VM, VMID clash, clone, tasks, agent, migrate, others.
 * What it does: pve-rules. Who may do it: pve-privileges. What clients depend on: pve-calls.
 */
const test = suite<Context>('the emulated Proxmox API: conformance');
freshLabs(test);

const ANSWERS: [
  name: string,
  method: string,
  path: string,
  body: string | undefined,
  status: number,
  message: string | RegExp,
][] = [
  ['errors: a path that does not exist', 'GET', '/nosuch', undefined, 501, "Method 'GET /nosuch' not implemented"],
  [
    'errors: a method that does not exist',
    'DELETE',
    '/version',
    undefined,
    501,
    "Method 'DELETE /version' not implemented",
  ],
  [
    'unknown VM: on no node',
    'GET',
    `${QEMU}/101/config`,
    undefined,
    500,
    "Configuration file 'nodes/pve-01/qemu-server/101.conf' does not exist",
  ],
  [
    'unknown VM: on another node',
    'GET',
    '/nodes/pve-02/qemu/9000/config',
    undefined,
    500,
    "unable to find configuration file for VM 9000 on node 'pve-02'",
  ],
  ['errors: an unknown node', 'GET', '/nodes/pve-09/status', undefined, 500, /^hostname lookup 'pve-09' failed/],
  ['bad params: one is missing', 'POST', `${QEMU}/9000/clone`, 'full=1', 400, 'Parameter verification failed.'],
  ['bad params: a VMID too small', 'POST', ...clone(99), 400, 'Parameter verification failed.'],
  ['bad params: a boolean that is none', 'POST', ...clone(120, 'full=maybe'), 400, 'Parameter verification failed.'],
  ['bad params: one that does not exist', 'POST', ...clone(120, 'fool=1'), 400, 'Parameter verification failed.'],
  [
    'VMID clash: a clone on the same node, at once',
    'POST',
    ...clone(9000),
    500,
    'unable to create VM 9000: config file already exists',
  ],
  [
    'clone: to another node from local storage',
    'POST',
    ...clone(120, 'full=1&target=pve-02'),
    500,
    "can't clone VM to node 'pve-02' (VM uses local storage)",
  ],
  [
    'clone: to another node onto local storage',
    'POST',
    ...clone(120, 'full=1&target=pve-02&storage=local-zfs'),
    500,
    "can't clone to non-shared storage 'local-zfs'",
  ],
  [
    'clone: to a node that is none',
    'POST',
    ...clone(120, 'full=1&target=pve-09'),
    500,
    "no such cluster node 'pve-09'",
  ],
  [
    'clone: a linked one onto a storage',
    'POST',
    ...clone(120, 'storage=local-zfs'),
    500,
    "parameter 'storage' not allowed for linked clones",
  ],
  [
    'clone: onto a storage for ISOs',
    'POST',
    ...clone(120, 'full=1&storage=local'),
    400,
    'Parameter verification failed.',
  ],
  [
    'VMID clash: creating a VM that exists elsewhere',
    'POST',
    '/nodes/pve-02/qemu',
    'vmid=9000',
    500,
    "unable to create VM 9000 - VM 9000 already exists on node 'pve-01'",
  ],
  [
    'others: a storage that does not exist',
    'PUT',
    `${QEMU}/9000/config`,
    'scsi1=nowhere:8',
    500,
    "storage 'nowhere' does not exist",
  ],
  [
    'others: an ISO that does not exist',
    'PUT',
    `${QEMU}/9000/config`,
    'ide2=local:iso/no.iso,media%3Dcdrom',
    500,
    "volume 'local:iso/no.iso' does not exist",
  ],
  [
    'bad params: a network card without a model',
    'PUT',
    `${QEMU}/9000/config`,
    'net1=bridge%3Dvmbr0',
    400,
    'Parameter verification failed.',
  ],
  [
    'permission: a raw PCI device, by token',
    'PUT',
    `${QEMU}/9000/config`,
    'hostpci0=0000:01:00.0',
    500,
    "only root can set 'hostpci0' config for non-mapped devices",
  ],
  [
    'tasks: an unknown UPID',
    'GET',
    '/nodes/pve-01/tasks/UPID:pve-01:00000001:00000001:00000001:qmstart:1:a@b:/status',
    undefined,
    400,
    'Parameter verification failed.',
  ],
  [
    'VMID clash: nextid of a VMID that is taken',
    'GET',
    '/cluster/nextid?vmid=9000',
    undefined,
    400,
    'Parameter verification failed.',
  ],
  [
    'others: moving a disk to where it is',
    'POST',
    `${QEMU}/9000/move_disk`,
    'disk=scsi0&storage=local-zfs',
    500,
    "you can't move to the same storage with same format",
  ],
  [
    'others: making a template of a template',
    'POST',
    `${QEMU}/9000/template`,
    '',
    500,
    "you can't convert a template to a template",
  ],
  [
    'agent: of a VM that does not run',
    'GET',
    `${QEMU}/9000/agent/network-get-interfaces`,
    undefined,
    500,
    'VM 9000 is not running',
  ],
  ['others: a key for a VM that does not run', 'PUT', `${QEMU}/9000/sendkey`, 'key=a', 500, 'VM 9000 not running'],
  [
    'migrate: to the node where it is',
    'POST',
    `${QEMU}/9000/migrate`,
    'target=pve-01',
    400,
    'Parameter verification failed.',
  ],
  [
    'migrate: to a node that is none',
    'POST',
    `${QEMU}/9000/migrate`,
    'target=pve-09',
    500,
    "no such cluster node 'pve-09'",
  ],
  [
    'permission: an option that is only for root',
    'PUT',
    `${QEMU}/9000/config`,
    'args=-no-hpet',
    500,
    "only root can set 'args' config",
  ],
  [
    'permission: skipping locks is only for root',
    'POST',
    `${QEMU}/9000/status/stop`,
    'skiplock=1',
    400,
    'Parameter verification failed.',
  ],
  [
    'bad params: a type of resource that is none',
    'GET',
    '/cluster/resources?type=qemu',
    undefined,
    400,
    'Parameter verification failed.',
  ],
  [
    'others: an update against another digest',
    'PUT',
    `${QEMU}/9000/config`,
    'onboot=1&digest=00',
    500,
    'checksum mismatch (file change by other user?)',
  ],
  [
    'bad params: a download without an algorithm',
    'POST',
    '/nodes/pve-01/storage/local/download-url',
    'content=iso&filename=x.iso&url=https://x/y.iso&checksum=ab',
    400,
    'Parameter verification failed.',
  ],
  [
    'others: a download to a storage for disks',
    'POST',
    '/nodes/pve-01/storage/local-zfs/download-url',
    'content=iso&filename=x.iso&url=https://x/y.iso',
    500,
    "storage 'local-zfs' is not configured for content-type 'iso'",
  ],
];

for (const [name, method, path, body, status, message] of ANSWERS) {
  test(name, async ({ lab }) => {
    const before = lab.pve.snapshot();
    const reply = await ask(lab, method, path, { body });
    assert.equal(reply.status, status, reply.body);
    if (typeof message === 'string') assert.equal(reply.message, `${message}\n`);
    else assert.match(reply.message, message);
    assert.equal(reply.data, null);
    assert.equal(reply.reason, reply.message.split('\n')[0]);
    assert.equal(reply.headers.connection, 'close');
    assert.deepEqual(lab.pve.snapshot(), before);
  });
}

for (const [name, auth, reason] of [
  ['no token', '', 'No ticket'],
  ['an unknown token', `PVEAPIToken=homelab@pve!other=${SECRET}`, "no such token 'other' for user 'homelab@pve'"],
  ['a wrong secret', `PVEAPIToken=${TOKEN}=11111111-2222-3333-4444-555555555555`, 'invalid token value!'],
] as const) {
  test(`auth failure: ${name}: held back, no body, no content type`, async () => {
    await inLab({ latency: { authFailure: 60 } }, async (lab) => {
      const began = performance.now();
      const reply = await ask(lab, 'GET', '/version', { auth });
      assert.deepEqual([reply.status, reply.reason, reply.body], [401, reason, '']);
      assert.deepEqual([reply.headers['content-type'], reply.headers.connection], [undefined, 'close']);
      assert.ok(performance.now() - began >= 55);
    });
  });
}

test('auth failure: held back for 3 s where nothing else is said', () => {
  assert.equal(defaultLatency.authFailure, 3000);
});

for (const method of ['GET', 'DELETE']) {
  test(`body on GET/DELETE: refused before the API (${method}), as bare text`, async ({ lab }) => {
    const reply = await ask(lab, method, `${QEMU}/9000`, { body: 'purge=1' });
    const text = `Unexpected content for method '${method}'`;
    assert.deepEqual([reply.status, reply.reason, reply.body], [501, text, text]);
    assert.deepEqual([reply.headers['content-type'], reply.headers.connection], [undefined, 'close']);
    assert.equal(lab.pve.snapshot().vms.length, 1);
  });
}

test('errors: a good answer keeps the connection, an error closes it', async ({ lab }) => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const get = (path: string) => ask(lab, 'GET', path, { agent });
  const kept = [await get('/version'), await get('/version')];
  assert.deepEqual(
    kept.map(({ headers }) => headers.connection),
    ['keep-alive', 'keep-alive'],
  );
  assert.equal((await get('/nodes/pve-09/status')).headers.connection, 'close');
  assert.equal((await get('/version')).status, 200);
  agent.destroy();
});

test('errors: the reason phrase is the first line, the message all of them', async ({ lab }) => {
  const reply = await ask(lab, 'PUT', `${QEMU}/9000/config`, { body: 'net1=bridge%3Dvmbr0' });
  assert.deepEqual(
    [reply.reason, reply.message],
    ['Parameter verification failed.', 'Parameter verification failed.\n'],
  );
  assert.match(reply.errors.net1 ?? '', /^invalid format - format error\n/);
});

test('bad params: each is named, all at once', async ({ lab }) => {
  const { errors } = await ask(lab, 'POST', `${QEMU}/9000/clone`, { body: 'newid=7&full=maybe&fool=1&name=a_b' });
  assert.deepEqual(errors, {
    newid: 'value must have a minimum value of 100',
    full: "type check ('boolean') failed - got 'maybe'",
    fool: 'property is not defined in schema and the schema does not allow additional properties',
    name: 'invalid format - value does not look like a valid DNS name',
  });
  const { errors: missing } = await ask(lab, 'POST', `${QEMU}/9000/clone`, { body: 'full=1' });
  assert.deepEqual(missing, { newid: 'property is missing and it is not optional' });
});

test('bad params: booleans come in eight spellings', async ({ lab }) => {
  for (const [i, yes] of ['1', 'on', 'yes', 'true'].entries()) {
    await ask(lab, 'PUT', `${QEMU}/9000/config`, { body: `onboot=${yes}` });
    assert.equal((await configOf(lab, 9000)).onboot, 1);
    await ask(lab, 'PUT', `${QEMU}/9000/config`, { body: `onboot=${['0', 'off', 'no', 'false'][i]}` });
    assert.equal((await configOf(lab, 9000)).onboot, 0);
  }
});

test.run();
