import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { ask, type Context, clone, configOf, freshLabs, QEMU } from './pve-client.ts';

/** What the emulator must answer as Proxmox VE does, in its words, and without a change. */
const test = suite<Context>('the emulated Proxmox API: answers');
freshLabs(test);

const ANSWERS: [
  name: string,
  method: string,
  path: string,
  body: string | undefined,
  status: number,
  message: string | RegExp,
][] = [
  ['a path that does not exist', 'GET', '/nosuch', undefined, 501, "Method 'GET /nosuch' not implemented"],
  ['a method that does not exist', 'DELETE', '/version', undefined, 501, "Method 'DELETE /version' not implemented"],
  ['a body on DELETE', 'DELETE', `${QEMU}/9000`, 'purge=1', 501, "Unexpected content for method 'DELETE'"],
  [
    'an unknown VM',
    'GET',
    `${QEMU}/101/config`,
    undefined,
    500,
    "Configuration file 'nodes/pve-01/qemu-server/101.conf' does not exist",
  ],
  [
    'a VM of another node',
    'GET',
    '/nodes/pve-02/qemu/9000/config',
    undefined,
    500,
    "unable to find configuration file for VM 9000 on node 'pve-02'",
  ],
  ['an unknown node', 'GET', '/nodes/pve-09/status', undefined, 500, /^hostname lookup 'pve-09' failed/],
  ['a missing parameter', 'POST', `${QEMU}/9000/clone`, 'full=1', 400, 'Parameter verification failed.'],
  ['a VMID too small', 'POST', ...clone(99), 400, 'Parameter verification failed.'],
  ['a boolean that is none', 'POST', ...clone(120, 'full=maybe'), 400, 'Parameter verification failed.'],
  ['an unknown parameter', 'POST', ...clone(120, 'fool=1'), 400, 'Parameter verification failed.'],
  [
    'a clone onto a VMID of the same node',
    'POST',
    ...clone(9000),
    500,
    'unable to create VM 9000: config file already exists',
  ],
  [
    'a clone to another node from local storage',
    'POST',
    ...clone(120, 'full=1&target=pve-02'),
    500,
    "can't clone VM to node 'pve-02' (VM uses local storage)",
  ],
  [
    'a clone to another node onto local storage',
    'POST',
    ...clone(120, 'full=1&target=pve-02&storage=local-zfs'),
    500,
    "can't clone to non-shared storage 'local-zfs'",
  ],
  [
    'a clone to a node that is none',
    'POST',
    ...clone(120, 'full=1&target=pve-09'),
    500,
    "no such cluster node 'pve-09'",
  ],
  [
    'a linked clone with a storage',
    'POST',
    ...clone(120, 'storage=local-zfs'),
    500,
    "parameter 'storage' not allowed for linked clones",
  ],
  [
    'a clone onto a storage for ISOs',
    'POST',
    ...clone(120, 'full=1&storage=local'),
    400,
    'Parameter verification failed.',
  ],
  [
    'creating a VM that exists elsewhere',
    'POST',
    '/nodes/pve-02/qemu',
    'vmid=9000',
    500,
    "unable to create VM 9000 - VM 9000 already exists on node 'pve-01'",
  ],
  [
    'a storage that does not exist',
    'PUT',
    `${QEMU}/9000/config`,
    'scsi1=nowhere:8',
    500,
    "storage 'nowhere' does not exist",
  ],
  [
    'an ISO that does not exist',
    'PUT',
    `${QEMU}/9000/config`,
    'ide2=local:iso/no.iso,media%3Dcdrom',
    500,
    "volume 'local:iso/no.iso' does not exist",
  ],
  [
    'a network card without a model',
    'PUT',
    `${QEMU}/9000/config`,
    'net1=bridge%3Dvmbr0',
    400,
    'Parameter verification failed.',
  ],
  [
    'a raw PCI device, by token',
    'PUT',
    `${QEMU}/9000/config`,
    'hostpci0=0000:01:00.0',
    500,
    "only root can set 'hostpci0' config for non-mapped devices",
  ],
  [
    'an unknown task',
    'GET',
    '/nodes/pve-01/tasks/UPID:pve-01:00000001:00000001:00000001:qmstart:1:a@b:/status',
    undefined,
    400,
    'Parameter verification failed.',
  ],
  [
    'nextid of a VMID that is taken',
    'GET',
    '/cluster/nextid?vmid=9000',
    undefined,
    400,
    'Parameter verification failed.',
  ],
  [
    'moving a disk to where it is',
    'POST',
    `${QEMU}/9000/move_disk`,
    'disk=scsi0&storage=local-zfs',
    500,
    "you can't move to the same storage with same format",
  ],
  [
    'making a template of a template',
    'POST',
    `${QEMU}/9000/template`,
    '',
    500,
    "you can't convert a template to a template",
  ],
  [
    'the agent of a VM that does not run',
    'GET',
    `${QEMU}/9000/agent/network-get-interfaces`,
    undefined,
    500,
    'VM 9000 is not running',
  ],
  ['a key for a VM that does not run', 'PUT', `${QEMU}/9000/sendkey`, 'key=a', 500, 'VM 9000 not running'],
  [
    'a download without an algorithm',
    'POST',
    '/nodes/pve-01/storage/local/download-url',
    'content=iso&filename=x.iso&url=https://x/y.iso&checksum=ab',
    400,
    'Parameter verification failed.',
  ],
  [
    'an upload to a storage for disks',
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

test('each wrong parameter is named, all at once', async ({ lab }) => {
  const { errors } = await ask(lab, 'POST', `${QEMU}/9000/clone`, { body: 'newid=7&full=maybe&fool=1&name=a_b' });
  assert.deepEqual(errors, {
    newid: 'value must have a minimum value of 100',
    full: "type check ('boolean') failed - got 'maybe'",
    fool: 'property is not defined in schema and the schema does not allow additional properties',
    name: 'invalid format - value does not look like a valid DNS name',
  });
  assert.deepEqual((await ask(lab, 'GET', '/cluster/nextid?vmid=9000')).errors, { vmid: 'VM 9000 already exists' });
});

test('booleans come in eight spellings', async ({ lab }) => {
  for (const [i, yes] of ['1', 'on', 'yes', 'true'].entries()) {
    await ask(lab, 'PUT', `${QEMU}/9000/config`, { body: `onboot=${yes}` });
    assert.equal((await configOf(lab, 9000)).onboot, 1);
    await ask(lab, 'PUT', `${QEMU}/9000/config`, { body: `onboot=${['0', 'off', 'no', 'false'][i]}` });
    assert.equal((await configOf(lab, 9000)).onboot, 0);
  }
});

test.run();
