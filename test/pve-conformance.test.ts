import { strict as assert } from 'node:assert';
import type { IncomingHttpHeaders } from 'node:http';
import { request } from 'node:https';
import { suite } from 'uvu';
import { defaultPrivileges } from '../lib/lab/pve/index.ts';
import { PaperMachines, SECRET, type TestLab, TOKEN, testLab } from './pve-fixture.ts';

/** What the emulator must answer as Proxmox VE does: statuses, words, and what becomes of a VM. */

type Reply = {
  status: number;
  reason: string;
  headers: IncomingHttpHeaders;
  body: string;
  data: unknown;
  message: string;
  errors: Record<string, string>;
};
type Ask = { node?: string; auth?: string; body?: string; type?: string; headers?: Record<string, string> };
type Context = { lab: TestLab; machines: PaperMachines };

const test = suite<Context>('the emulated Proxmox API');

test.before.each(async (context) => {
  context.machines = new PaperMachines();
  context.lab = await testLab({ machines: context.machines, isoSizes: true });
  context.lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'ubuntu-24.04', storage: 'local-zfs', diskGib: 20 });
  context.lab.pve.addIso({ node: 'pve-01', volid: 'local:iso/ubuntu.iso', bytes: 2 ** 30 });
});
test.after.each(async ({ lab }) => {
  assert.deepEqual(lab.pve.problems, []);
  await lab.close();
});

function ask(
  lab: TestLab,
  method: string,
  path: string,
  { node = 'pve-01', auth, body, type, headers }: Ask = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const authorization = auth ?? `PVEAPIToken=${TOKEN}=${SECRET}`;
    const req = request(
      {
        ...{ host: '127.0.0.1', port: lab.pve.portOf(node), ca: lab.ca.certificate, agent: false },
        ...{ method, path: `/api2/json${path}` },
        headers: {
          ...(authorization && { authorization }),
          ...(body !== undefined && {
            'content-type': type ?? 'application/x-www-form-urlencoded',
            'content-length': Buffer.byteLength(body),
          }),
          ...headers,
        },
      },
      (response) => {
        let text = '';
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.on('end', () => {
          const { data, message = '', errors = {} } = (text ? JSON.parse(text) : {}) as Partial<Reply>;
          const { statusCode = 0, statusMessage = '' } = response;
          resolve({
            status: statusCode,
            reason: statusMessage,
            headers: response.headers,
            body: text,
            data,
            message,
            errors,
          });
        });
      },
    );
    req.on('error', reject);
    req.end(body);
  });
}

/** A change whose task is waited for. @returns its exit status */
async function exitOf(lab: TestLab, method: string, path: string, body?: string): Promise<string> {
  const reply = await ask(lab, method, path, { body });
  assert.equal(reply.status, 200, reply.body);
  return taskOf(lab, String(reply.data));
}

async function taskOf(lab: TestLab, upid: string): Promise<string> {
  const node = upid.split(':')[1];
  for (let i = 0; i < 300; i++) {
    const { data } = await ask(lab, 'GET', `/nodes/${node}/tasks/${upid}/status`);
    const { status, exitstatus = '' } = data as { status: string; exitstatus?: string };
    if (status === 'stopped') return exitstatus;
    await new Promise((done) => setTimeout(done, 5));
  }
  throw new Error(`${upid} did not end`);
}

const QEMU = '/nodes/pve-01/qemu';
const clone = (newid: number, more = 'full=1'): [string, string] => [`${QEMU}/9000/clone`, `newid=${newid}&${more}`];
const configOf = async (lab: TestLab, vmid: number, node = 'pve-01'): Promise<Record<string, string | number>> =>
  (await ask(lab, 'GET', `/nodes/${node}/qemu/${vmid}/config`)).data as Record<string, string | number>;

// ---- single answers: method, path, body, status, message

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

// ---- who may

for (const [name, auth] of [
  ['no token', ''],
  ['an unknown token', `PVEAPIToken=homelab@pve!other=${SECRET}`],
  ['a wrong secret', `PVEAPIToken=${TOKEN}=11111111-2222-3333-4444-555555555555`],
] as const) {
  test(`401 for ${name}: held back, without a body and a content type`, async () => {
    const lab = await testLab({ latency: { authFailure: 60 } });
    const began = performance.now();
    const reply = await ask(lab, 'GET', '/version', { auth });
    assert.equal(reply.status, 401);
    assert.equal(reply.body, '');
    assert.equal(reply.headers['content-type'], undefined);
    assert.ok(performance.now() - began >= 55);
    await lab.close();
  });
}

test('a ticket needs its CSRF token for changes, and root has all privileges', async ({ lab }) => {
  const login = await ask(lab, 'POST', '/access/ticket', {
    auth: '',
    body: 'username=root@pam&password=packer-password',
  });
  const { ticket, CSRFPreventionToken } = login.data as { ticket: string; CSRFPreventionToken: string };
  const cookie = `PVEAuthCookie=${encodeURIComponent(ticket)}`;
  const put = (headers: Record<string, string>) =>
    ask(lab, 'PUT', `${QEMU}/9000/config`, { auth: '', body: 'args=-no-hpet', headers });
  assert.equal((await ask(lab, 'GET', '/version', { auth: '', headers: { cookie } })).status, 200);
  assert.equal((await put({ cookie })).status, 401);
  assert.equal((await put({ cookie, csrfpreventiontoken: CSRFPreventionToken })).status, 200);
  assert.equal(
    (await ask(lab, 'POST', '/access/ticket', { auth: '', body: 'username=root@pam&password=no' })).status,
    401,
  );
});

const VM = ['VM.Audit', 'VM.Clone', 'VM.Allocate'];
const SPACE = { '/storage/local-zfs': ['Datastore.AllocateSpace'] };
const REFUSED: [string, Record<string, string[]>, string, string, string | undefined][] = [
  ['(/vms/9000, VM.Audit)', {}, 'GET', `${QEMU}/9000/config`, undefined],
  ['(/vms/9000, VM.Clone)', { '/vms': ['VM.Audit'] }, 'POST', ...clone(120)],
  ['(/vms/120, VM.Allocate)', { '/vms/9000': ['VM.Clone'] }, 'POST', ...clone(120)],
  ['(/storage/local-zfs, Datastore.AllocateSpace)', { '/vms': VM }, 'POST', ...clone(120)],
  ['(/sdn/zones/localnetwork/vmbr0, SDN.Use)', { '/vms': VM, ...SPACE }, 'POST', ...clone(120)],
  ['(/vms/9000, VM.Config.Memory)', { '/vms': VM }, 'PUT', `${QEMU}/9000/config`, 'memory=1024'],
  ['(/vms/9000, VM.Config.CPU)', { '/vms': VM }, 'PUT', `${QEMU}/9000/config`, 'cores=1'],
  ['(/vms/9000, VM.Config.Options)', { '/vms': VM }, 'PUT', `${QEMU}/9000/config`, 'bios=ovmf'],
  ['(/vms/9000, VM.Config.HWType)', { '/vms': VM }, 'PUT', `${QEMU}/9000/config`, 'machine=q35'],
  ['(/vms/9000, VM.Config.Cloudinit)', { '/vms': VM }, 'PUT', `${QEMU}/9000/config`, 'ciuser=ops'],
  [
    '(/mapping/pci/rtx4000ada, Mapping.Use)',
    { '/vms': [...VM, 'VM.Config.HWType'] },
    'PUT',
    `${QEMU}/9000/config`,
    'hostpci0=mapping%3Drtx4000ada',
  ],
  ['(/vms/9000, VM.PowerMgmt)', { '/vms': VM }, 'POST', `${QEMU}/9000/status/start`, ''],
  [
    '(/vms/9000, VM.GuestAgent.Audit|VM.GuestAgent.Unrestricted)',
    { '/vms': VM },
    'GET',
    `${QEMU}/9000/agent/network-get-interfaces`,
    undefined,
  ],
  [
    '(/vms/9000, VM.GuestAgent.FileRead|VM.GuestAgent.Unrestricted)',
    { '/vms': [...VM, 'VM.GuestAgent.Audit'] },
    'GET',
    `${QEMU}/9000/agent/file-read?file=/etc/hostname`,
    undefined,
  ],
  [
    '(/storage/local, Datastore.AllocateTemplate)',
    { '/storage': ['Datastore.Audit'] },
    'POST',
    '/nodes/pve-01/storage/local/download-url',
    'content=iso',
  ],
  [
    '(/nodes/pve-01, Sys.AccessNetwork)',
    { '/storage': ['Datastore.AllocateTemplate'] },
    'POST',
    '/nodes/pve-01/storage/local/download-url',
    'content=iso',
  ],
  ['(/storage, Datastore.Allocate)', { '/storage': ['Datastore.Audit'] }, 'POST', '/storage', 'storage=nas&type=nfs'],
  ['(/nodes/pve-01, Sys.Audit)', { '/nodes/pve-02': ['Sys.Audit'] }, 'GET', '/nodes/pve-01/status', undefined],
];
for (const [what, privileges, method, path, body] of REFUSED) {
  test(`403 ${what}`, async () => {
    const lab = await testLab({ token: { id: TOKEN, secret: SECRET, privileges } });
    lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'x', storage: 'local-zfs', diskGib: 20 });
    const reply = await ask(lab, method, path, { body });
    assert.equal(reply.status, 403, reply.body);
    assert.equal(reply.message, `Permission check failed ${what}\n`);
    await lab.close();
  });
}

test('a deeper path replaces what a higher one gives, and lists show only what may be seen', async () => {
  const privileges = { '/vms': ['VM.Audit'], '/vms/9000': [] };
  const lab = await testLab({ token: { id: TOKEN, secret: SECRET, privileges } });
  for (const [vmid, node] of [
    [9000, 'pve-01'],
    [9001, 'pve-02'],
  ] as const)
    lab.pve.addTemplate({ vmid, node, name: 'x', storage: 'local-zfs', diskGib: 20 });
  assert.equal((await ask(lab, 'GET', `${QEMU}/9000/config`)).status, 403);
  const { data } = await ask(lab, 'GET', '/cluster/resources?type=vm');
  assert.deepEqual(
    (data as { vmid: number }[]).map(({ vmid }) => vmid),
    [9001],
  );
  await lab.close();
});

// ---- what becomes of a VM

test('a full clone: locked while it lasts, new MAC and uuid, no template mark', async () => {
  const lab = await testLab({ latency: { clone: 150 } });
  lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'x', storage: 'local-zfs', diskGib: 20 });
  const { data } = await ask(lab, 'POST', clone(120)[0], { body: clone(120, 'full=1&name=web')[1] });
  assert.equal((await configOf(lab, 120)).lock, 'clone');
  const change = await ask(lab, 'PUT', `${QEMU}/120/config`, { body: 'cores=4' });
  assert.equal(change.message, "can't lock file '/var/lock/qemu-server/lock-120.conf' - got timeout\n");
  assert.equal(await taskOf(lab, String(data)), 'OK');
  const [source, copy] = [await configOf(lab, 9000), await configOf(lab, 120)];
  assert.deepEqual([copy.template, copy.lock, copy.name], [undefined, undefined, 'web']);
  assert.match(String(copy.net0), /^virtio=BC:24:11:..:..:..,bridge=vmbr0$/);
  assert.notEqual(copy.net0, source.net0);
  assert.notEqual(copy.smbios1, source.smbios1);
  assert.match(String(copy.scsi0), /^local-zfs:vm-120-disk-1,discard=on,size=20G$/);
  await lab.close();
});

test('a VM that a fault locks is locked in so many words', async ({ lab }) => {
  lab.pve.faults.set('backup', { kind: 'lock', vmid: 9000, lock: 'backup' });
  for (const [method, path, body] of [
    ['POST', ...clone(120)],
    ['PUT', `${QEMU}/9000/config`, 'onboot=1'],
  ] as const)
    assert.equal((await ask(lab, method, path, { body })).message, 'VM is locked (backup)\n');
  assert.deepEqual(lab.pve.snapshot().locks, [{ vmid: 9000, lock: 'backup' }]);
});

test('a VMID that another node holds fails in the task', async ({ lab }) => {
  lab.pve.addTemplate({ vmid: 120, node: 'pve-02', name: 'x', storage: 'local-zfs', diskGib: 20 });
  assert.match(await exitOf(lab, 'POST', ...clone(120)), /File exists/);
  assert.equal(lab.pve.snapshot().vms.length, 2);
});

test('a linked clone holds its base', async ({ lab }) => {
  assert.equal(await exitOf(lab, 'POST', ...clone(120, 'full=0')), 'OK');
  assert.match(String((await configOf(lab, 120)).scsi0), /^local-zfs:base-9000-disk-1\/vm-120-disk-1,/);
  assert.match(await exitOf(lab, 'DELETE', `${QEMU}/9000`), /still in use by linked cloned/);
  assert.match(await exitOf(lab, 'POST', `${QEMU}/120/migrate`, 'target=pve-02'), /as it's a clone of/);
});

test('a template for another node: clone, migrate, template', async ({ lab }) => {
  assert.equal(await exitOf(lab, 'POST', ...clone(9001)), 'OK');
  assert.equal(await exitOf(lab, 'POST', `${QEMU}/9001/migrate`, 'target=pve-02'), 'OK');
  assert.equal(await exitOf(lab, 'POST', '/nodes/pve-02/qemu/9001/template', ''), 'OK');
  const config = await configOf(lab, 9001, 'pve-02');
  assert.deepEqual([config.template, config.lock], [1, undefined]);
  const volumes = lab.pve.snapshot().volumes.filter(({ vmid }) => vmid === 9001);
  assert.deepEqual(
    volumes.map(({ node, volid }) => `${node} ${volid}`),
    ['pve-02 local-zfs:base-9001-disk-0', 'pve-02 local-zfs:base-9001-disk-1'],
  );
});

test('a local ISO blocks a migration, and is copied verbatim by a clone', async ({ lab }) => {
  await ask(lab, 'PUT', `${QEMU}/9000/config`, { body: 'ide2=local:iso/ubuntu.iso,media%3Dcdrom' });
  await exitOf(lab, 'POST', ...clone(120));
  assert.equal((await configOf(lab, 120)).ide2, 'local:iso/ubuntu.iso,media=cdrom,size=1G');
  assert.match(await exitOf(lab, 'POST', `${QEMU}/120/migrate`, 'target=pve-02'), /can't migrate VM - check log/);
});

test('disks grow, do not shrink, and move', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  const resize = (size: string): Promise<string> => exitOf(lab, 'PUT', `${QEMU}/120/resize`, `disk=scsi0&size=${size}`);
  assert.equal(await resize('53687091200'), 'OK');
  assert.match(String((await configOf(lab, 120)).scsi0), /size=50G$/);
  assert.equal(await resize('%2B10G'), 'OK');
  assert.match(String((await configOf(lab, 120)).scsi0), /size=60G$/);
  assert.equal(await resize('20G'), 'shrinking disks is not supported');
  assert.equal(await exitOf(lab, 'PUT', `${QEMU}/120/resize`, 'disk=scsi7&size=20G'), "disk 'scsi7' does not exist");
  assert.equal(await exitOf(lab, 'POST', `${QEMU}/120/move_disk`, 'disk=scsi0&storage=nas-vmstorage&delete=1'), 'OK');
  assert.match(String((await configOf(lab, 120)).scsi0), /^nas-vmstorage:120\/vm-120-disk-0\.raw,.*size=60G$/);
});

test('a VM on shared storage can be cloned to another node', async ({ lab }) => {
  lab.pve.addTemplate({ vmid: 9100, node: 'pve-01', name: 'x', storage: 'nas-vmstorage', diskGib: 20 });
  assert.equal(await exitOf(lab, 'POST', `${QEMU}/9100/clone`, 'newid=120&full=1&target=pve-03'), 'OK');
  assert.equal((await configOf(lab, 120, 'pve-03')).name, 'Copy-of-VM-x');
});

test('a full storage fails the task and leaves nothing', async ({ lab }) => {
  const before = lab.pve.snapshot();
  lab.pve.faults.set('full', { kind: 'fill', storage: 'local-zfs', node: 'pve-01' });
  assert.match(await exitOf(lab, 'POST', ...clone(120)), /^clone failed: .*out of space$/);
  assert.deepEqual(lab.pve.snapshot(), before);
});

test('the life of a VM: cloud-init, start, agent, stop, destroy', async () => {
  const machines = new PaperMachines();
  const lab = await testLab({ machines, latency: { boot: 400 } });
  lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'x', storage: 'local-zfs', diskGib: 20 });
  await exitOf(lab, 'POST', ...clone(120));
  const agent = (): Promise<Reply> => ask(lab, 'GET', `${QEMU}/120/agent/network-get-interfaces`);
  const keys = encodeURIComponent(encodeURIComponent('ssh-ed25519 AAAA+/= ops\n'));
  const body = `ide2=local-zfs:cloudinit&ipconfig0=ip%3D10.20.11.80/24,gw%3D10.20.11.1&ciuser=ops&cipassword=secret&sshkeys=${keys}&hostpci0=mapping%3Drtx4000ada`;
  assert.equal((await ask(lab, 'PUT', `${QEMU}/120/config`, { body })).status, 200);
  const config = await configOf(lab, 120);
  assert.deepEqual([config.cipassword, config.ide2], ['**********', 'local-zfs:vm-120-cloudinit,media=cdrom']);
  assert.equal(decodeURIComponent(String(config.sshkeys)), 'ssh-ed25519 AAAA+/= ops\n');

  assert.equal(await exitOf(lab, 'POST', `${QEMU}/120/status/start`, ''), 'OK');
  assert.equal((await agent()).message, 'QEMU guest agent is not running\n');
  assert.equal(await exitOf(lab, 'POST', `${QEMU}/120/status/start`, ''), 'VM 120 already running');
  assert.equal((await ask(lab, 'DELETE', `${QEMU}/120`)).message, 'VM 120 is running - destroy failed\n');
  while ((await agent()).status !== 200) await new Promise((done) => setTimeout(done, 5));
  const [spec] = machines.booted;
  assert.deepEqual(
    [spec?.address, spec?.user, spec?.sshKeys, spec?.gpus],
    ['10.20.11.80', 'ops', ['ssh-ed25519 AAAA+/= ops'], ['rtx4000ada']],
  );
  assert.match((await agent()).body, /"ip-address":"10\.20\.11\.80","ip-address-type":"ipv4","prefix":24/);
  const key = await ask(lab, 'GET', `${QEMU}/120/agent/file-read?file=/etc/ssh/ssh_host_ed25519_key.pub`);
  assert.deepEqual(key.data, { content: 'ssh-ed25519 AAAA120\n' });
  assert.match((await ask(lab, 'GET', `${QEMU}/120/agent/file-read?file=/no`)).message, /failed to open file '\/no'/);

  await ask(lab, 'PUT', `${QEMU}/120/config`, { body: 'cores=6&onboot=1' });
  const running = (await ask(lab, 'GET', `${QEMU}/120/config?current=1`)).data as Record<string, number>;
  assert.deepEqual([running.cores, running.onboot, (await configOf(lab, 120)).cores], [2, 1, 6]);

  assert.equal(await exitOf(lab, 'POST', `${QEMU}/120/status/shutdown`, 'forceStop=1'), 'OK');
  assert.deepEqual(machines.stopped, [120]);
  assert.equal(await exitOf(lab, 'DELETE', `${QEMU}/120?purge=1&destroy-unreferenced-disks=1`), 'OK');
  assert.deepEqual(machines.destroyed, [120]);
  assert.equal((await ask(lab, 'GET', `${QEMU}/120/status/current`)).status, 500);
  await lab.close();
});

const STARTS: [string, string, string][] = [
  ['a mapping that does not exist', 'hostpci0=mapping%3Dnone', "PCI device mapping not found for 'none'"],
  ['a bridge that does not exist', 'net0=virtio,bridge%3Dvmbr9', "bridge 'vmbr9' does not exist"],
];
for (const [name, body, exit] of STARTS) {
  test(`a start with ${name} fails in its task`, async () => {
    const privileges = { ...defaultPrivileges('vmbr0'), '/sdn/zones/localnetwork': ['SDN.Use'] };
    const lab = await testLab({ token: { id: TOKEN, secret: SECRET, privileges } });
    lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'x', storage: 'local-zfs', diskGib: 20 });
    await exitOf(lab, 'POST', ...clone(120));
    assert.equal((await ask(lab, 'PUT', `${QEMU}/120/config`, { body })).status, 200);
    assert.equal(await exitOf(lab, 'POST', `${QEMU}/120/status/start`, ''), exit);
    await lab.close();
  });
}

test('a template does not start, and a VM without an agent has none', async ({ lab }) => {
  assert.equal(await exitOf(lab, 'POST', `${QEMU}/9000/status/start`, ''), "you can't start a vm if it's a template");
  await exitOf(lab, 'POST', ...clone(120));
  await ask(lab, 'PUT', `${QEMU}/120/config`, { body: 'delete=agent' });
  assert.equal(
    (await ask(lab, 'GET', `${QEMU}/120/agent/network-get-interfaces`)).message,
    'No QEMU guest agent configured\n',
  );
});

test('one GPU, one VM', async ({ lab }) => {
  for (const vmid of [120, 121]) {
    await exitOf(lab, 'POST', ...clone(vmid));
    await ask(lab, 'PUT', `${QEMU}/${vmid}/config`, { body: 'hostpci0=mapping%3Drtx4000ada' });
  }
  assert.equal(await exitOf(lab, 'POST', `${QEMU}/120/status/start`, ''), 'OK');
  assert.match(await exitOf(lab, 'POST', `${QEMU}/121/status/start`, ''), /already in use by VMID '120'/);
});

test('an empty disk with an ISO installs first; without one it never comes up', async ({ lab, machines }) => {
  assert.equal(await exitOf(lab, 'POST', QEMU, 'vmid=130&name=empty&agent=1&scsi0=local-zfs:20&start=1'), 'OK');
  const body = 'vmid=131&name=build&agent=1&scsi0=local-zfs:20&ide2=local:iso/ubuntu.iso,media%3Dcdrom';
  assert.equal(await exitOf(lab, 'POST', QEMU, body), 'OK');
  assert.equal(await exitOf(lab, 'POST', `${QEMU}/131/status/start`, ''), 'OK');
  for (let i = 0; i < 300 && machines.booted.length === 0; i++) await new Promise((done) => setTimeout(done, 5));
  assert.deepEqual(
    machines.booted.map(({ name, cloudInit, address }) => [name, cloudInit, address]),
    [['build', false, undefined]],
  );
});

test('ISOs: a download is a task, an upload is measured', async ({ lab }) => {
  const storage = '/nodes/pve-02/storage/local';
  const sum = 'ab'.repeat(32);
  const fetch = `content=iso&filename=a.iso&url=https://x/a.iso&checksum-algorithm=sha256&checksum=`;
  assert.equal(await exitOf(lab, 'POST', `${storage}/download-url`, fetch + sum), 'OK');
  assert.match(await exitOf(lab, 'POST', `${storage}/download-url`, fetch + sum.slice(1)), /checksum mismatch/);
  const part = (name: string, value: string, file = ''): string =>
    `--B\r\ncontent-disposition: form-data; name="${name}"${file}\r\n\r\n${value}\r\n`;
  const body = `${part('content', 'iso')}${part('filename', 'x'.repeat(1000), '; filename="cidata.iso"')}--B--\r\n`;
  const upload = await ask(lab, 'POST', `${storage}/upload`, { body, type: 'multipart/form-data; boundary=B' });
  assert.equal(await taskOf(lab, String(upload.data)), 'OK');
  const list = (await ask(lab, 'GET', `${storage}/content?content=iso`)).data as { volid: string; size: number }[];
  assert.deepEqual(
    list.map(({ volid, size }) => [volid, size]),
    [
      ['local:iso/a.iso', 3 * 2 ** 30],
      ['local:iso/cidata.iso', 1000],
    ],
  );
  assert.equal(
    ((await ask(lab, 'GET', '/nodes/pve-01/storage/local/content?content=iso')).data as unknown[]).length,
    1,
  );
  for (const volid of ['local:iso/a.iso', 'local%3Aiso%2Fcidata.iso'])
    assert.equal(await exitOf(lab, 'DELETE', `${storage}/content/${volid}`), 'OK');
  assert.deepEqual((await ask(lab, 'GET', `${storage}/content?content=iso`)).data, []);
});

test('an NFS storage is added, changed and removed', async ({ lab }) => {
  const before = lab.pve.snapshot();
  const add = 'storage=nas&type=nfs&server=10.20.10.20&export=/srv/VMStorage&content=images&options=vers%3D3';
  assert.deepEqual((await ask(lab, 'POST', '/storage', { body: add })).data, { storage: 'nas', type: 'nfs' });
  assert.match((await ask(lab, 'POST', '/storage', { body: add })).message, /'nas' already defined/);
  assert.equal((await ask(lab, 'PUT', '/storage/nas', { body: 'content=images,backup' })).status, 200);
  const found = ((await ask(lab, 'GET', '/storage')).data as Record<string, unknown>[]).find(
    ({ storage }) => storage === 'nas',
  );
  assert.deepEqual(
    [found?.type, found?.server, found?.export, found?.content, found?.options, found?.shared],
    ['nfs', '10.20.10.20', '/srv/VMStorage', 'images,backup', 'vers=3', 1],
  );
  assert.equal((await ask(lab, 'DELETE', '/storage/nas')).status, 200);
  assert.deepEqual(lab.pve.snapshot(), before);
});

test('a new VM is nameless to the cluster until the next broadcast', async () => {
  const lab = await testLab({ latency: { broadcast: 60_000 } });
  lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'x', storage: 'local-zfs', diskGib: 20 });
  const { data } = await ask(lab, 'GET', '/cluster/resources?type=vm');
  assert.deepEqual(data, [
    { id: 'qemu/9000', type: 'qemu', vmid: 9000, node: 'pve-01', status: 'unknown', template: 0 },
  ]);
  await lab.close();
});

test('every node answers for all; what is about a node that is down does not', async ({ lab }) => {
  assert.equal((await ask(lab, 'GET', `${QEMU}/9000/config`, { node: 'pve-03' })).status, 200);
  lab.pve.faults.set('off', { kind: 'down', node: 'pve-01' });
  assert.equal((await ask(lab, 'GET', `${QEMU}/9000/config`, { node: 'pve-03' })).status, 595);
  await assert.rejects(ask(lab, 'GET', '/version'), /socket hang up|ECONNRESET/);
  lab.pve.faults.clear('off');
  assert.equal((await ask(lab, 'GET', '/version')).status, 200);
});

test('faults strike by name, as often as they are told to', async ({ lab }) => {
  const { faults } = lab.pve;
  const status = async (): Promise<number> => (await ask(lab, 'GET', '/version')).status;
  const request = { method: 'GET', path: /^\/version$/ };
  faults.set('twice', { kind: 'deny', request, path: '/', privilege: 'Sys.Audit' }, 2);
  assert.deepEqual([await status(), await status(), await status()], [403, 403, 200]);
  faults.set('cut', { kind: 'drop', request, when: 'before' }, 1);
  await assert.rejects(status(), /socket hang up|ECONNRESET/);
  faults.set('slow', { kind: 'slow', request, ms: 50 });
  faults.set('failing', { kind: 'fail-task', type: 'qmclone', message: 'no route to the storage' });
  assert.deepEqual(faults.names(), ['slow', 'failing']);
  const began = performance.now();
  assert.equal(await status(), 200);
  assert.ok(performance.now() - began >= 45);
  assert.equal(await exitOf(lab, 'POST', ...clone(120)), 'no route to the storage');
  faults.clear();
  assert.deepEqual(faults.names(), []);
});

test('two equal labs have equal snapshots', async () => {
  const snapshots = [];
  for (let i = 0; i < 2; i++) {
    const lab = await testLab();
    lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'x', storage: 'local-zfs', diskGib: 20 });
    await exitOf(lab, 'POST', ...clone(120));
    snapshots.push(JSON.stringify(lab.pve.snapshot()));
    await lab.close();
  }
  assert.equal(snapshots[0], snapshots[1]);
});

test.run();
