import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { ask, type Context, clone, freshLabs, inLab, QEMU } from './pve-client.ts';
import { SECRET, TOKEN } from './pve-fixture.ts';

/** Tokens, tickets, and the privilege that each call needs. */
const test = suite<Context>('the emulated Proxmox API: who may');
freshLabs(test);

for (const [name, auth] of [
  ['no token', ''],
  ['an unknown token', `PVEAPIToken=homelab@pve!other=${SECRET}`],
  ['a wrong secret', `PVEAPIToken=${TOKEN}=11111111-2222-3333-4444-555555555555`],
] as const) {
  test(`401 for ${name}: held back, without a body and a content type`, async () => {
    await inLab({ latency: { authFailure: 60 } }, async (lab) => {
      const began = performance.now();
      const reply = await ask(lab, 'GET', '/version', { auth });
      assert.equal(reply.status, 401);
      assert.equal(reply.body, '');
      assert.equal(reply.headers['content-type'], undefined);
      assert.ok(performance.now() - began >= 55);
    });
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
    await inLab({ token: { id: TOKEN, secret: SECRET, privileges } }, async (lab) => {
      const reply = await ask(lab, method, path, { body });
      assert.equal(reply.status, 403, reply.body);
      assert.equal(reply.message, `Permission check failed ${what}\n`);
    });
  });
}

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
