import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import {
  ask,
  type Context,
  clone,
  configOf,
  exitOf,
  freshLabs,
  inLab,
  logOf,
  QEMU,
  type Reply,
  taskOf,
} from './pve-client.ts';
import { PaperMachines } from './pve-fixture.ts';

/** What becomes of a VM and its disks. */
const test = suite<Context>('the emulated Proxmox API: VMs');
freshLabs(test);

test('a VM that a fault locks is locked in so many words', async ({ lab }) => {
  lab.pve.faults.set('backup', { kind: 'lock', vmid: 9000, lock: 'backup' });
  for (const [method, path, body] of [
    ['POST', ...clone(120)],
    ['PUT', `${QEMU}/9000/config`, 'onboot=1'],
  ] as const)
    assert.equal((await ask(lab, method, path, { body })).message, 'VM is locked (backup)\n');
  assert.deepEqual(lab.pve.snapshot().locks, [{ vmid: 9000, lock: 'backup' }]);
});

test('clones of one node are copied one after another, those of another node meanwhile', async () => {
  await inLab({ latency: { clone: 300, cloneQueue: 'storage', lockTimeout: 60_000 } }, async (lab) => {
    lab.pve.addTemplate({ vmid: 9001, node: 'pve-02', name: 'x', storage: 'local-zfs', diskGib: 20 });
    const order: number[] = [];
    const one = async (template: number, node: string, newid: number) => {
      assert.equal(await exitOf(lab, 'POST', `/nodes/${node}/qemu/${template}/clone`, `newid=${newid}&full=1`), 'OK');
      order.push(newid);
    };
    await Promise.all([one(9000, 'pve-01', 120), one(9000, 'pve-01', 121), one(9001, 'pve-02', 130)]);
    assert.notEqual(order.at(-1), 130);
  });
});

test('a clone that waits too long for its turn fails, and leaves nothing', async () => {
  const latency = { clone: 1500, cloneQueue: 'storage', storageLockTimeout: 40 } as const;
  await inLab({ latency }, async (lab) => {
    const two = async (template: number, ...vmids: number[]): Promise<string[]> => {
      const upids: string[] = [];
      for (const newid of vmids) {
        const { data } = await ask(lab, 'POST', `${QEMU}/${template}/clone`, { body: `newid=${newid}&full=1` });
        upids.push(String(data));
      }
      return Promise.all(upids.map((upid) => taskOf(lab, upid)));
    };
    const text = "can't lock file '/var/lock/pve-manager/pve-storage-local-zfs' - got timeout";
    assert.deepEqual(await two(9000, 120, 121), ['OK', `clone failed: ${text}`]);
    assert.deepEqual(
      lab.pve.snapshot().vms.map(({ vmid }) => vmid),
      [120, 9000],
    );
    lab.pve.addTemplate({ vmid: 9100, node: 'pve-01', name: 'x', storage: 'nas-vmstorage', diskGib: 20 });
    const shared = "clone failed: cfs-lock 'storage-nas-vmstorage' error: got lock request timeout";
    assert.deepEqual(await two(9100, 130, 131), ['OK', shared]);
  });
});

test('a linked clone holds its base', async ({ lab }) => {
  assert.equal(await exitOf(lab, 'POST', ...clone(120, 'full=0')), 'OK');
  assert.match(String((await configOf(lab, 120)).scsi0), /^local-zfs:base-9000-disk-1\/vm-120-disk-1,/);
  assert.match(await exitOf(lab, 'DELETE', `${QEMU}/9000`), /still in use by linked cloned/);
  const log = await logOf(lab, 'POST', `${QEMU}/120/migrate`, 'target=pve-02');
  assert.match(log, /as it's a clone of[\s\S]*TASK ERROR: migration aborted$/);
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

test('disks grow and move', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  const resize = (size: string): Promise<string> => exitOf(lab, 'PUT', `${QEMU}/120/resize`, `disk=scsi0&size=${size}`);
  assert.equal(await resize('53687091200'), 'OK');
  assert.match(String((await configOf(lab, 120)).scsi0), /size=50G$/);
  assert.equal(await resize('%2B10G'), 'OK');
  assert.match(String((await configOf(lab, 120)).scsi0), /size=60G$/);
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
  await inLab({ machines, latency: { boot: 1500 } }, async (lab) => {
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
  });
});

test('a template does not start', async ({ lab }) => {
  assert.equal(await exitOf(lab, 'POST', `${QEMU}/9000/status/start`, ''), "you can't start a vm if it's a template");
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
  for (let i = 0; i < 2000 && machines.booted.length === 0; i++) await new Promise((done) => setTimeout(done, 5));
  assert.deepEqual(
    machines.booted.map(({ name, cloudInit, address }) => [name, cloudInit, address]),
    [['build', false, undefined]],
  );
});

test.run();
