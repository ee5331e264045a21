import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { ask, type Context, clone, exitOf, freshLabs, inLab, QEMU, taskOf } from './pve-client.ts';

/** Storages, the cluster as a whole, and faults. */
const test = suite<Context>('the emulated Proxmox API: storages and cluster');
freshLabs(test);

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
  await inLab({ latency: { broadcast: 60_000 } }, async (lab) => {
    const { data } = await ask(lab, 'GET', '/cluster/resources?type=vm');
    assert.deepEqual(data, [{ id: 'qemu/9000', type: 'qemu', vmid: 9000, node: 'pve-01', status: 'unknown' }]);
  });
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
  const snapshots: string[] = [];
  for (let i = 0; i < 2; i++) {
    await inLab({}, async (lab) => {
      await exitOf(lab, 'POST', ...clone(120));
      snapshots.push(JSON.stringify(lab.pve.snapshot()));
    });
  }
  assert.equal(snapshots[0], snapshots[1]);
});

test.run();
