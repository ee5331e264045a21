import { strict as assert } from 'node:assert';
import { X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import { suite } from 'uvu';
import { LabCa } from '../lib/lab/ca.ts';
import type { Pve } from '../lib/ports/types.ts';
import { type TestLab, testLab } from './pve-fixture.ts';
import { failure, portOf } from './pve-port-fixture.ts';

const test = suite<{ lab: TestLab; pve: Pve }>('the Proxmox port');

test.before.each(async (context) => {
  context.lab = await testLab();
  context.pve = portOf(context.lab);
  context.lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'ubuntu-24.04', storage: 'local-zfs', diskGib: 20 });
});
test.after.each(async ({ lab }) => lab.close());

test('a GET is answered, and an error of Proxmox is a value with its words', async ({ pve }) => {
  const version = await pve.get<{ release: string }>('/version');
  assert.equal(version.ok && version.value.release, '9.0');
  const gone = await pve.get('/nodes/pve-01/qemu/777/config');
  assert.deepEqual(gone, {
    ok: false,
    status: 500,
    reason: "Configuration file 'nodes/pve-01/qemu-server/777.conf' does not exist",
    fix: undefined,
  });
  const bad = await pve.get('/cluster/nextid', { vmid: 9000 });
  assert.deepEqual(bad, {
    ok: false,
    status: 400,
    reason: 'Parameter verification failed.; vmid: VM 9000 already exists',
    fix: 'that VMID is taken: choose another in homelab.yaml, or remove what holds it',
  });
});

test('a GET goes to the node it is about, and to another one when that does not answer', async ({ lab, pve }) => {
  await pve.get('/nodes/pve-03/status');
  assert.equal(lab.pve.requests.at(-1)?.node, 'pve-03');
  lab.pve.faults.set('pve-01 is off', { kind: 'down', node: 'pve-01' });
  assert.equal((await pve.get('/version')).ok, true);
  const gone = await pve.get('/nodes/pve-01/status');
  assert.ok(!gone.ok && gone.status === 595);
  assert.match(
    gone.reason,
    /^pve-01 does not answer: pve-02 says: No route to host \(595\); .+pve-01 \(10\.20\.11\.11/,
  );
  for (const node of ['pve-02', 'pve-03']) lab.pve.faults.set(node, { kind: 'down', node });
  const none = await pve.get('/version');
  assert.ok(!none.ok && none.status === 0);
  assert.match(none.reason, /^no Proxmox node answers: pve-02 \(10\.20\.11\.12:8006\): .+; pve-03 .+; pve-01/);
});

test('a call waits for its task and returns the UPID', async ({ lab, pve }) => {
  const upid = await pve.call('POST', '/nodes/pve-01/qemu/9000/clone', { newid: 120, name: 'x', full: true });
  assert.match(String(upid), /^UPID:pve-01:.*:qmclone:9000:homelab@pve!toolkit:$/);
  assert.equal(lab.pve.snapshot().vms.find(({ vmid }) => vmid === 120)?.config.name, 'x');
  assert.equal(await pve.call('PUT', '/nodes/pve-01/qemu/120/config', { cores: 3 }), null);
});

test('a failed task says why, with the end of its log', async ({ lab, pve }) => {
  lab.pve.faults.set('full', { kind: 'fill', storage: 'local-zfs' });
  const error = await failure(pve.call('POST', '/nodes/pve-01/qemu/9000/clone', { newid: 120, full: true }));
  assert.match(
    error.message,
    /^POST \/nodes\/pve-01\/qemu\/9000\/clone: task qmclone on pve-01 failed: clone failed: .*out of space$/,
  );
  assert.match(error.output ?? '', /^creating a clone of VM 9000 with ID 120\n.*\nTASK ERROR: clone failed/s);
  assert.match(error.fix ?? '', /make room/);
  assert.equal(lab.pve.snapshot().vms.length, 1);
});

test('a task that does not end in time says what was seen last', async ({ lab, pve }) => {
  lab.pve.faults.set('slow', { kind: 'slow-task', type: 'qmclone', ms: 5000 });
  const error = await failure(pve.call('POST', '/nodes/pve-01/qemu/9000/clone', { newid: 120, full: true }, 0.4));
  assert.match(error.message, /task qmclone on pve-01: not within [\d.]+ s/);
  assert.match(error.likelyCause ?? '', /task qmclone is running/);
});

test('a missing privilege is named, with its path and the way to grant it', async ({ lab, pve }) => {
  lab.pve.faults.set('deny', { kind: 'deny', request: { method: 'POST' }, path: '/vms/9000', privilege: 'VM.Clone' });
  const error = await failure(pve.call('POST', '/nodes/pve-01/qemu/9000/clone', { newid: 120 }));
  assert.equal(error.message, 'POST /nodes/pve-01/qemu/9000/clone: Permission check failed (/vms/9000, VM.Clone)');
  assert.match(
    error.fix ?? '',
    /lacks VM\.Clone on \/vms\/9000.*pveum acl modify \/vms\/9000 --tokens 'homelab@pve!toolkit'/,
  );
});

test('a wrong secret is named as such, once, and shown nowhere', async ({ lab }) => {
  const secret = '11111111-89ab-cdef-0123-456789abcdef';
  const pve = portOf(lab, { secret });
  const answer = await pve.get('/version');
  const reason = 'Proxmox does not accept the token homelab@pve!toolkit (401 invalid token value!)';
  assert.ok(!answer.ok && answer.status === 401 && answer.reason === reason);
  assert.match(answer.fix ?? '', /compare proxmox\.token_id and PROXMOX_TOKEN_SECRET/);
  const error = await failure(pve.call('POST', '/nodes/pve-01/qemu/9000/clone', { newid: 120 }));
  assert.equal(error.message, `POST /nodes/pve-01/qemu/9000/clone: ${reason}`);
  assert.equal(lab.pve.requests.length, 1, 'it is refused again: Proxmox is not asked');
  assert.ok(!`${error.message}${error.fix}${error.stack}`.includes(secret));
  const malformed = await failure(portOf(lab, { secret: 'hunter2-hunter2' }).call('POST', '/x'));
  assert.match(malformed.message, /not the secret of a Proxmox API token/);
  assert.ok(!malformed.message.includes('hunter2'));
});

test('a change to a node that is away was not sent', async ({ lab, pve }) => {
  await lab.pve.close();
  const error = await failure(pve.call('DELETE', '/nodes/pve-01/qemu/9000'));
  assert.match(error.message, /^DELETE \/nodes\/pve-01\/qemu\/9000: pve-01 \(10\.20\.11\.11:8006\): .*ECONNREFUSED/);
  assert.equal(error.likelyCause, 'nothing was sent');
});

test('another CA is not trusted', async ({ lab }) => {
  const other = await LabCa.create();
  const pve = portOf(lab, { ca: other.certificate });
  const answer = await pve.get('/version');
  assert.ok(!answer.ok && answer.status === 0);
  assert.match(
    answer.reason,
    /^pve-01 \(10\.20\.11\.11:8006\): its certificate does not verify by proxmox\.ca_file \(.*pve-root-ca\.pem\): .*; shown was ([0-9A-F]{2}:){31}[0-9A-F]{2} \(issued by "homelab rehearsal CA", for DNS:pve-01, .*\); nothing was sent\. .*copy \/etc\/pve\/pve-root-ca\.pem/,
  );
  const error = await failure(pve.call('POST', '/nodes/pve-03/qemu/9000/clone', { newid: 120 }));
  assert.match(error.message, /pve-03.*: pve-01 .* does not verify/, 'nothing more is asked of anybody in this run');
  assert.equal(error.likelyCause, 'nothing was sent');
  assert.equal(lab.pve.requests.length, 0);
});

test('a certificate that changed while a run goes on is named, with its node', async ({ lab, pve }) => {
  assert.equal((await pve.get('/nodes/pve-02/status')).ok, true);
  await lab.pve.renewCertificate('pve-02', 'same CA');
  assert.equal((await pve.get('/nodes/pve-02/status')).ok, true, 'by the same CA: it is trusted');
  await lab.pve.renewCertificate('pve-02', 'other CA');
  const answer = await pve.get('/nodes/pve-02/status');
  assert.ok(!answer.ok && /^pve-02 .* does not verify by proxmox\.ca_file/.test(answer.reason), 'nobody else is asked');
});

test('a fingerprint pins one certificate, and another one gets no byte', async ({ lab }) => {
  const port = lab.pve.portOf('pve-01');
  const fingerprint = await new Promise<string>((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, ca: lab.ca.certificate }, () => {
      resolve(new X509Certificate(socket.getPeerCertificate().raw).fingerprint256);
      socket.destroy();
    });
    socket.on('error', reject);
  });
  const none = '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n';
  const pinned = portOf(lab, { ca: none, fingerprints: { 'pve-01': fingerprint.toLowerCase() } });
  assert.equal((await pinned.get('/nodes/pve-01/status')).ok, true);
  assert.equal((await pinned.get('/nodes/pve-01/status')).ok, true);
  const wrong = 'AA:'.repeat(31).concat('AA');
  const before = lab.pve.requests.length;
  const all = { 'pve-01': wrong, 'pve-02': wrong, 'pve-03': wrong };
  const refused = portOf(lab, { fingerprints: all });
  const answer = await refused.get('/version');
  assert.ok(!answer.ok);
  assert.match(answer.reason, /^pve-01 \(10\.20\.11\.11:8006\): it shows another certificate/);
  assert.ok(answer.reason.includes(`expected is ${wrong}, shown was ${fingerprint} (issued by`));
  assert.match(answer.reason, /nothing was sent\. If you renewed it, .*write the new fingerprint into homelab\.yaml/);
  const error = await failure(refused.call('POST', '/nodes/pve-01/qemu/9000/clone', { newid: 120 }));
  assert.equal(error.likelyCause, 'nothing was sent');
  assert.equal(lab.pve.requests.length, before);
});

test('names with odd characters stay what they are', async ({ pve }) => {
  const answer = await pve.get('/nodes/pve-01/storage/local/content/a#b?c d');
  assert.deepEqual(answer, { ok: false, status: 500, reason: "volume 'local:a#b?c d' does not exist", fix: undefined });
});

test.run();
