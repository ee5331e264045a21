import { strict as assert } from 'node:assert';
import { Agent } from 'node:https';
import { connect } from 'node:tls';
import { suite } from 'uvu';
import type { GatewayStatus } from '../lib/lab/pve/faults.ts';
import { ask, type Context, clone, configOf, exitOf, freshLabs, logOf, QEMU, taskOf, until } from './pve-client.ts';
import { SECRET, type TestLab, TOKEN } from './pve-fixture.ts';

/** What can be made to go wrong, and that it looks as it does with the real thing. */
const test = suite<Context>('the emulated Proxmox API: faults');
freshLabs(test);

const CLONES = { method: 'POST', path: /\/clone$/ };
const CUT = /socket hang up|ECONNRESET|aborted/;

for (const [when, happened] of [
  ['before', false],
  ['after', true],
  ['during', true],
] as const) {
  test(`drop ${when}: the clone ${happened ? 'happened, and nobody was told' : 'did not happen'}`, async ({ lab }) => {
    lab.pve.faults.set('cut', { kind: 'drop', request: CLONES, when }, 1);
    await assert.rejects(ask(lab, 'POST', clone(120)[0], { body: clone(120)[1] }), CUT);
    assert.equal((await vmids(lab)).includes(120), happened);
    assert.deepEqual(lab.pve.faults.names(), []);
  });
}

const GATEWAYS: [GatewayStatus, string, string][] = [
  [595, 'No route to host', ''],
  [596, 'Broken pipe', ''],
  [599, 'Too many redirections', ''],
  [502, 'Bad Gateway', 'text/html'],
];
for (const [status, reason, type] of GATEWAYS) {
  test(`gateway ${status} ${reason}: no JSON, the connection closes, the change may have happened`, async ({ lab }) => {
    const { faults } = lab.pve;
    faults.set('proxy', { kind: 'gateway', request: CLONES, status }, 1);
    const before = await ask(lab, 'POST', clone(120)[0], { body: clone(120)[1] });
    assert.deepEqual([before.status, before.reason, before.data], [status, reason, undefined]);
    assert.deepEqual([before.headers['content-type'] ?? '', before.headers.connection], [type, 'close']);
    assert.ok(!(await vmids(lab)).includes(120));
    faults.set('proxy', { kind: 'gateway', request: CLONES, status, when: 'after' }, 1);
    await ask(lab, 'POST', clone(120)[0], { body: clone(120)[1] });
    assert.ok((await vmids(lab)).includes(120));
  });
}

test('auth: the token is not accepted any more, until it is', async ({ lab }) => {
  lab.pve.faults.set('revoked', { kind: 'auth' });
  for (let i = 0; i < 2; i++) {
    const { status, reason, body } = await ask(lab, 'GET', '/version');
    assert.deepEqual([status, reason, body], [401, "no such token 'toolkit' for user 'homelab@pve'", '']);
  }
  lab.pve.faults.clear('revoked');
  assert.equal((await ask(lab, 'GET', '/version')).status, 200);
});

test('hang-task: a clone holds its lock and does not end, until it may', async ({ lab }) => {
  lab.pve.faults.set('hung', { kind: 'hang-task', type: 'qmclone' });
  const upid = String((await ask(lab, 'POST', clone(120)[0], { body: clone(120)[1] })).data);
  await new Promise((done) => setTimeout(done, 100));
  const { data } = await ask(lab, 'GET', `/nodes/pve-01/tasks/${upid}/status`);
  assert.equal((data as { status: string }).status, 'running');
  assert.equal((await configOf(lab, 120)).lock, 'clone');
  lab.pve.faults.clear('hung');
  assert.equal(await taskOf(lab, upid), 'OK');
});

test('vanish-task: its UPID is unknown, and its work is done all the same', async ({ lab }) => {
  lab.pve.faults.set('gone', { kind: 'vanish-task', type: 'qmclone' });
  const upid = String((await ask(lab, 'POST', clone(120)[0], { body: clone(120)[1] })).data);
  for (const what of ['status', 'log']) {
    const { status, errors } = await ask(lab, 'GET', `/nodes/pve-01/tasks/${upid}/${what}`);
    assert.deepEqual([status, errors], [400, { upid: 'no such task' }]);
  }
  assert.deepEqual((await ask(lab, 'GET', '/nodes/pve-01/tasks')).data, []);
  await until(async () => (await configOf(lab, 120)).lock === undefined);
});

test('file-lock: clones fail in their task, changes at once', async ({ lab }) => {
  lab.pve.faults.set('busy', { kind: 'file-lock', vmid: 9000 });
  const text = "can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout";
  assert.equal(await exitOf(lab, 'POST', ...clone(120)), text);
  const change = await ask(lab, 'PUT', `${QEMU}/9000/config`, { body: 'onboot=1' });
  assert.deepEqual([change.status, change.message], [500, `${text}\n`]);
  assert.deepEqual(await vmids(lab), [9000]);
});

test('migrate-blocked: the task is aborted, its log says why, nothing moved', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  const before = lab.pve.snapshot();
  const why = 'non-migratable snapshot exists';
  lab.pve.faults.set('snapshot', { kind: 'migrate-blocked', vmid: 120, why });
  const log = await logOf(lab, 'POST', `${QEMU}/120/migrate`, 'target=pve-02');
  assert.match(log, /TASK ERROR: migration aborted$/);
  assert.match(log, /can't migrate local disk 'local-zfs:vm-120-disk-0': non-migratable snapshot exists/);
  assert.match(log, /Problem found while scanning volumes - can't migrate VM - check log/);
  assert.deepEqual(lab.pve.snapshot(), before);
});

test('fill: a migration onto a full storage leaves the VM where it was', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  const before = lab.pve.snapshot();
  lab.pve.faults.set('full', { kind: 'fill', storage: 'local-zfs', node: 'pve-02' });
  assert.equal(await exitOf(lab, 'POST', `${QEMU}/120/migrate`, 'target=pve-02'), 'migration aborted');
  assert.deepEqual(lab.pve.snapshot(), before);
});

test('bad-download: the checksum does not match, and no file is left', async ({ lab }) => {
  const storage = '/nodes/pve-02/storage/local';
  const sum = 'ab'.repeat(32);
  const body = `content=iso&filename=a.iso&url=https://x/a.iso&checksum-algorithm=sha256&checksum=${sum}`;
  lab.pve.faults.set('corrupt', { kind: 'bad-download' }, 1);
  const exit = await exitOf(lab, 'POST', `${storage}/download-url`, body);
  assert.equal(exit, `checksum mismatch: got '${'0'.repeat(64)}' != expect '${sum}'`);
  assert.deepEqual((await ask(lab, 'GET', `${storage}/content`)).data, []);
  assert.equal(await exitOf(lab, 'POST', `${storage}/download-url`, body), 'OK');
});

test('dhcp: the VM boots elsewhere, and its agent says where', async ({ lab, machines }) => {
  await exitOf(lab, 'POST', ...clone(120));
  const body = 'ide2=local-zfs:cloudinit&ipconfig0=ip%3D10.20.11.80/24';
  await ask(lab, 'PUT', `${QEMU}/120/config`, { body });
  lab.pve.faults.set('dhcp', { kind: 'dhcp', vmid: 120, address: '10.20.11.77' });
  await exitOf(lab, 'POST', `${QEMU}/120/status/start`, '');
  const agent = () => ask(lab, 'GET', `${QEMU}/120/agent/network-get-interfaces`);
  await until(async () => (await agent()).status === 200);
  assert.match((await agent()).body, /"ip-address":"10\.20\.11\.77"/);
  assert.equal(machines.booted[0]?.address, '10.20.11.77');
});

test('mute: the agent does not answer while it is', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  await exitOf(lab, 'POST', `${QEMU}/120/status/start`, '');
  const agent = () => ask(lab, 'GET', `${QEMU}/120/agent/network-get-interfaces`);
  await until(async () => (await agent()).status === 200);
  lab.pve.faults.set('mute', { kind: 'mute', vmid: 120 });
  assert.equal((await agent()).message, 'QEMU guest agent is not running\n');
});

test('a stranger holds a VMID on the same node: refused at once; on another: the task fails', async ({ lab }) => {
  lab.pve.addStranger({ vmid: 120, node: 'pve-01', name: 'theirs' });
  lab.pve.addStranger({ vmid: 121, node: 'pve-02', name: 'theirs-too' });
  const before = lab.pve.snapshot();
  const reply = await ask(lab, 'POST', clone(120)[0], { body: clone(120)[1] });
  assert.deepEqual([reply.status, reply.message], [500, 'unable to create VM 120: config file already exists\n']);
  assert.match(await exitOf(lab, 'POST', ...clone(121)), /121\.conf' failed: File exists/);
  assert.deepEqual(lab.pve.snapshot(), before);
});

test('renewCertificate: another key of the same CA, then another CA; open connections end', async ({ lab }) => {
  const shown = () => fingerprintOf(lab, 'pve-01');
  const [first, other] = [await shown(), await fingerprintOf(lab, 'pve-02')];
  const open = connect({ host: '127.0.0.1', port: lab.pve.portOf('pve-01'), ca: lab.ca.certificate });
  const authorization = `PVEAPIToken=${TOKEN}=${SECRET}`;
  open.on('error', () => undefined);
  const answered = () => {
    const outcome = Promise.race(
      ['data', 'close'].map((what) => new Promise((done) => open.once(what, () => done(what)))),
    );
    open.write(`GET /api2/json/version HTTP/1.1\r\nhost: lab\r\nauthorization: ${authorization}\r\n\r\n`);
    return outcome;
  };
  assert.equal(await answered(), 'data');
  await lab.pve.renewCertificate('pve-01', 'same CA');
  assert.equal(await answered(), 'close');
  const second = await shown();
  assert.notEqual(second, first);
  const version = () => ask(lab, 'GET', '/version', { agent: new Agent() });
  assert.equal((await version()).status, 200);
  await lab.pve.renewCertificate('pve-01', 'other CA');
  await assert.rejects(version(), /certificate/);
  assert.equal(await fingerprintOf(lab, 'pve-02'), other);
});

async function vmids(lab: TestLab): Promise<number[]> {
  const { data } = await ask(lab, 'GET', '/cluster/resources?type=vm');
  return (data as { vmid: number }[]).map(({ vmid }) => vmid);
}

function fingerprintOf(lab: TestLab, node: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port: lab.pve.portOf(node), rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().fingerprint256);
      socket.destroy();
    });
    socket.on('error', reject);
  });
}

test.run();
