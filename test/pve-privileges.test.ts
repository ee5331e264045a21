import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { ask, type Context, clone, freshLabs, inLab, QEMU, ticketOf } from './pve-client.ts';
import { SECRET, TOKEN } from './pve-fixture.ts';

/** Tokens, tickets, and the privilege that each call needs. */
const test = suite<Context>('the emulated Proxmox API: who may');
freshLabs(test);

test('a ticket needs its CSRF token for changes, and root has all privileges', async ({ lab }) => {
  const { cookie = '', csrfpreventiontoken = '' } = await ticketOf(lab);
  const put = (headers: Record<string, string>) =>
    ask(lab, 'PUT', `${QEMU}/9000/config`, { auth: '', body: 'args=-no-hpet', headers });
  assert.equal((await ask(lab, 'GET', '/version', { auth: '', headers: { cookie } })).status, 200);
  assert.equal((await put({ cookie })).status, 401);
  assert.equal((await put({ cookie, csrfpreventiontoken })).status, 200);
  assert.equal(
    (await ask(lab, 'POST', '/access/ticket', { auth: '', body: 'username=root@pam&password=no' })).status,
    401,
  );
});

const VM = ['VM.Audit', 'VM.Clone', 'VM.Allocate'];
/** Enough to be let in to a configuration; what is changed needs its own. */
const IN = { '/vms': [...VM, 'VM.Config.Disk'] };
const ANY_CONFIG = ['Disk', 'CDROM', 'CPU', 'Memory', 'Network', 'HWType', 'Options', 'Cloudinit'];
const SPACE = { '/storage/local-zfs': ['Datastore.AllocateSpace'] };
const REFUSED: [string, Record<string, string[]>, string, string, string | undefined][] = [
  ['(/vms/9000, VM.Audit)', {}, 'GET', `${QEMU}/9000/config`, undefined],
  ['(/vms/9000, VM.Clone)', { '/vms': ['VM.Audit'] }, 'POST', ...clone(120)],
  ['(/storage/local-zfs, Datastore.AllocateSpace)', { '/vms': VM }, 'POST', ...clone(120)],
  ['(/sdn/zones/localnetwork/vmbr0, SDN.Use)', { '/vms': VM, ...SPACE }, 'POST', ...clone(120)],
  ['(/vms/9000, VM.Config.Memory)', IN, 'PUT', `${QEMU}/9000/config`, 'memory=1024'],
  ['(/vms/9000, VM.Config.CPU)', IN, 'PUT', `${QEMU}/9000/config`, 'cores=1'],
  ['(/vms/9000, VM.Config.Options)', IN, 'PUT', `${QEMU}/9000/config`, 'bios=ovmf'],
  ['(/vms/9000, VM.Config.HWType)', IN, 'PUT', `${QEMU}/9000/config`, 'machine=q35'],
  [
    `(/vms/9000, ${ANY_CONFIG.map((part) => `VM.Config.${part}`).join('|')})`,
    { '/vms': VM },
    'PUT',
    `${QEMU}/9000/config`,
    'memory=1024',
  ],
  ['(/vms/9000, VM.Config.Cloudinit|VM.Config.Network)', IN, 'PUT', `${QEMU}/9000/config`, 'ciuser=ops'],
  ['(/vms/9000, VM.Config.Cloudinit)', IN, 'PUT', `${QEMU}/9000/config`, 'ide2=local-zfs:cloudinit'],
  [
    '(/vms/9000, VM.Config.CDROM)',
    { '/vms': [...VM, 'VM.Config.Cloudinit'] },
    'PUT',
    `${QEMU}/9000/config`,
    'ide2=local-zfs:cloudinit',
  ],
  [
    '(/sdn/zones/localnetwork/vmbr0/11, SDN.Use)',
    { '/vms': [...VM, 'VM.Config.Network'] },
    'PUT',
    `${QEMU}/9000/config`,
    'net0=virtio,bridge%3Dvmbr0,tag%3D11',
  ],
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
  ['(/storage, Datastore.Allocate)', { '/storage': ['Datastore.Audit'] }, 'POST', '/storage', 'storage=nas&type=nfs'],
  ['(/nodes/pve-01, Sys.Audit)', { '/nodes/pve-02': ['Sys.Audit'] }, 'GET', '/nodes/pve-01/status', undefined],
];
for (const [what, privileges, method, path, body] of REFUSED) {
  test(`403 ${what}`, async () => {
    await inLab({ token: { id: TOKEN, secret: SECRET, privileges } }, async (lab) => {
      const reply = await ask(lab, method, path, { body });
      assert.equal(reply.status, 403, reply.body);
      assert.equal(reply.message, `Permission check failed ${what}\n`);
    });
  });
}

const UNNAMED: [string, Record<string, string[]>, string, string, string][] = [
  ['VM.Allocate, of the VMID or of a pool, to clone', { '/vms/9000': ['VM.Clone'] }, 'POST', ...clone(120)],
  ['VM.Allocate, likewise, to create', { '/vms': ['VM.Audit'] }, 'POST', QEMU, 'vmid=120'],
  [
    'Sys.AccessNetwork, or Sys.Modify, to download',
    { '/storage': ['Datastore.AllocateTemplate'] },
    'POST',
    '/nodes/pve-01/storage/local/download-url',
    'content=iso',
  ],
];
for (const [what, privileges, method, path, body] of UNNAMED) {
  test(`403 without a name where one of several would do: ${what}`, async () => {
    await inLab({ token: { id: TOKEN, secret: SECRET, privileges } }, async (lab) => {
      const reply = await ask(lab, method, path, { body });
      assert.deepEqual([reply.status, reply.message], [403, 'Permission check failed\n']);
    });
  });
}

test('403 of an upload: before its body is read, held back, without a body of its own', async () => {
  const privileges = { '/storage': ['Datastore.Audit'] };
  await inLab({ token: { id: TOKEN, secret: SECRET, privileges }, latency: { authFailure: 60 } }, async (lab) => {
    const path = '/nodes/pve-01/storage/local/upload';
    const began = performance.now();
    const reply = await ask(lab, 'POST', path, { body: 'x', type: 'multipart/form-data; boundary=B' });
    assert.deepEqual([reply.status, reply.body], [403, '']);
    assert.equal(reply.reason, 'Permission check failed (/storage/local, Datastore.AllocateTemplate)');
    assert.ok(performance.now() - began >= 55);
  });
});

test('a token that is separated has the intersection of its own privileges and its owner’s', async () => {
  const privileges = { '/vms': ['VM.Audit', 'VM.Clone', 'VM.Allocate'], ...SPACE };
  const ownerPrivileges = { '/': ['VM.Audit', 'VM.Clone', 'VM.PowerMgmt'], '/vms/120': ['VM.Allocate'] };
  await inLab({ token: { id: TOKEN, secret: SECRET, privileges, ownerPrivileges } }, async (lab) => {
    assert.equal((await ask(lab, 'GET', `${QEMU}/9000/config`)).status, 200);
    const refused = async (method: string, path: string, body: string) =>
      (await ask(lab, method, path, { body })).message.trim();
    assert.equal(
      await refused('POST', `${QEMU}/9000/status/start`, ''),
      'Permission check failed (/vms/9000, VM.PowerMgmt)',
    );
    assert.equal(
      await refused('POST', ...clone(120)),
      'Permission check failed (/storage/local-zfs, Datastore.AllocateSpace)',
    );
    assert.equal(await refused('POST', ...clone(121)), 'Permission check failed');
    assert.deepEqual((await ask(lab, 'GET', '/access/permissions')).data, {
      '/vms': { 'VM.Audit': 1, 'VM.Clone': 1 },
      '/vms/120': { 'VM.Allocate': 1 },
    });
  });
});

test('what may not be looked at is left out of lists, silently', async () => {
  await inLab({ token: { id: TOKEN, secret: SECRET, privileges: SPACE } }, async (lab) => {
    const ids = async (type: string): Promise<string[]> =>
      ((await ask(lab, 'GET', `/cluster/resources?type=${type}`)).data as { id: string }[]).map(({ id }) => id);
    assert.deepEqual([await ids('vm'), await ids('storage')], [[], []]);
    const nodes = (await ask(lab, 'GET', '/nodes')).data as Record<string, unknown>[];
    assert.deepEqual(nodes[0], { node: 'pve-01', id: 'node/pve-01', type: 'node', status: 'online', level: '' });
    const storages = (await ask(lab, 'GET', '/nodes/pve-01/storage')).data as { storage: string }[];
    assert.deepEqual(
      storages.map(({ storage }) => storage),
      ['local-zfs'],
    );
    assert.deepEqual((await ask(lab, 'GET', '/nodes/pve-01/storage/local-zfs/content')).data, []);
  });
});

test('a deeper path replaces what a higher one gives, and lists show only what may be seen', async () => {
  const privileges = { '/vms': ['VM.Audit'], '/vms/9000': [] };
  await inLab({ token: { id: TOKEN, secret: SECRET, privileges } }, async (lab) => {
    lab.pve.addTemplate({ vmid: 9001, node: 'pve-02', name: 'x', storage: 'local-zfs', diskGib: 20 });
    assert.equal((await ask(lab, 'GET', `${QEMU}/9000/config`)).status, 403);
    const { data } = await ask(lab, 'GET', '/cluster/resources?type=vm');
    assert.deepEqual(
      (data as { vmid: number }[]).map(({ vmid }) => vmid),
      [9001],
    );
  });
});

test.run();
