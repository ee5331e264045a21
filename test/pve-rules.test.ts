import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { defaultPrivileges } from '../lib/lab/pve/index.ts';
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
  taskOf,
  until,
} from './pve-client.ts';
import { SECRET, TOKEN } from './pve-fixture.ts';

/**
 * What Proxmox VE does that a client meets sooner or later. A test's name starts with the rule that it pins: VMID clash,
 * locks, clone, tasks, agent, migrate, others, staleness.
 */
const test = suite<Context>('the emulated Proxmox API: rules');
freshLabs(test);

test('VMID clash: nextid names it, counts on, and a clone to another node fails in its task', async ({ lab }) => {
  assert.deepEqual((await ask(lab, 'GET', '/cluster/nextid?vmid=9000')).errors, { vmid: 'VM 9000 already exists' });
  lab.pve.addStranger({ vmid: 100, node: 'pve-02', name: 'theirs' });
  assert.equal((await ask(lab, 'GET', '/cluster/nextid')).data, '101');
  const text = "close (rename) atomic file '/etc/pve/nodes/pve-01/qemu-server/100.conf' failed: File exists";
  assert.equal(await exitOf(lab, 'POST', ...clone(100)), text);
});

test('locks: in the configuration, refused at once; of the file, after a wait', async () => {
  await inLab({ latency: { lockTimeout: 60 } }, async (lab) => {
    lab.pve.faults.set('under way', { kind: 'hang-task', type: 'qmclone' });
    const { data } = await ask(lab, 'POST', clone(133)[0], { body: clone(133)[1] });
    assert.equal((await configOf(lab, 133)).lock, 'clone');
    for (const [method, path, body] of [
      ['PUT', `${QEMU}/133/config`, 'onboot=1'],
      ['POST', `${QEMU}/133/clone`, 'newid=134'],
      ['POST', `${QEMU}/133/migrate`, 'target=pve-02'],
      ['POST', `${QEMU}/133/template`, ''],
    ] as const)
      assert.equal((await ask(lab, method, path, { body })).message, 'VM is locked (clone)\n', path);
    const waited = "can't lock file '/var/lock/qemu-server/lock-133.conf' - got timeout";
    assert.equal(await exitOf(lab, 'PUT', `${QEMU}/133/resize`, 'disk=scsi0&size=30G'), waited);
    assert.equal(await exitOf(lab, 'POST', `${QEMU}/133/status/start`, ''), waited);
    assert.equal(await exitOf(lab, 'DELETE', `${QEMU}/133`), waited);
    lab.pve.faults.clear();
    assert.equal(await taskOf(lab, String(data)), 'OK');
    assert.equal((await configOf(lab, 133)).lock, undefined);
  });
});

test('locks: clones share the lock of their template, and hold off whoever wants it alone', async () => {
  await inLab({ latency: { lockTimeout: 60 } }, async (lab) => {
    lab.pve.faults.set('under way', { kind: 'hang-task', type: 'qmclone' });
    const clones = [120, 121].map((vmid) => exitOf(lab, 'POST', ...clone(vmid)));
    await until(async () => lab.pve.snapshot().vms.length === 3);
    const waited = "can't lock file '/var/lock/qemu-server/lock-9000.conf' - got timeout";
    assert.equal(await exitOf(lab, 'POST', `${QEMU}/9000/migrate`, 'target=pve-02'), waited);
    lab.pve.faults.clear();
    assert.deepEqual(await Promise.all(clones), ['OK', 'OK']);
  });
});

test('clone: locked until done; new MAC and smbios uuid; no template mark', async ({ lab }) => {
  assert.equal(await exitOf(lab, 'POST', ...clone(120, 'full=1&name=web&description=a%20clone')), 'OK');
  const [source, copy] = [await configOf(lab, 9000), await configOf(lab, 120)];
  assert.deepEqual([copy.template, copy.lock, copy.name, copy.description], [undefined, undefined, 'web', 'a clone']);
  assert.match(String(copy.net0), /^virtio=BC:24:11:..:..:..,bridge=vmbr0$/);
  assert.notEqual(copy.net0, source.net0);
  assert.match(String(copy.smbios1), /^uuid=[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
  assert.notEqual(copy.smbios1, source.smbios1);
  assert.match(String(copy.scsi0), /^local-zfs:vm-120-disk-1,discard=on,size=20G$/);
  assert.equal(copy.cores, source.cores);
});

test('clone: a CD-ROM is copied verbatim; the cloud-init disk is a copy even in a linked clone', async ({ lab }) => {
  const body = 'ide0=local:iso/ubuntu.iso,media%3Dcdrom&ide2=local-zfs:cloudinit';
  assert.equal((await ask(lab, 'PUT', `${QEMU}/9000/config`, { body })).status, 200);
  assert.equal(await exitOf(lab, 'POST', ...clone(120, 'full=0')), 'OK');
  const [source, copy] = [await configOf(lab, 9000), await configOf(lab, 120)];
  assert.equal(copy.ide0, 'local:iso/ubuntu.iso,media=cdrom,size=1G');
  assert.equal(copy.ide0, source.ide0);
  assert.equal(copy.ide2, 'local-zfs:vm-120-cloudinit,media=cdrom');
  assert.match(String(copy.scsi0), /^local-zfs:base-9000-disk-1\/vm-120-disk-1,/);
});

test('tasks: each kind of work has its name', async ({ lab, machines }) => {
  const types: string[] = [];
  const run = async (method: string, path: string, body?: string): Promise<void> => {
    const { data } = await ask(lab, method, path, { body });
    const upid = String(data);
    assert.equal(await taskOf(lab, upid), 'OK', upid);
    assert.match(upid, /^UPID:pve-01:[0-9A-F]{8}:[0-9A-F]{8}:[0-9A-F]{8}:\w+:[^:]*:homelab@pve!toolkit:$/);
    types.push(upid.split(':')[5] ?? '');
  };
  const vm = `${QEMU}/130`;
  await run('POST', QEMU, 'vmid=130&name=build&agent=1&scsi0=local-zfs:20&ide2=local:iso/ubuntu.iso,media%3Dcdrom');
  await run('POST', `${vm}/config`, 'onboot=1');
  await run('POST', `${vm}/status/start`, '');
  await until(async () => machines.booted.length === 1);
  await run('POST', `${vm}/status/shutdown`, '');
  await run('POST', `${vm}/status/start`, '');
  await run('POST', `${vm}/status/stop`, '');
  await run('PUT', `${vm}/resize`, 'disk=scsi0&size=%2B1G');
  await run('POST', `${vm}/move_disk`, 'disk=scsi0&storage=nas-vmstorage&delete=1');
  await run('PUT', `${vm}/resize`, 'disk=scsi0&size=22G');
  assert.equal((await ask(lab, 'PUT', `${vm}/config`, { body: 'delete=ide2' })).data, null);
  await run('POST', `${vm}/migrate`, 'target=pve-02');
  await run('POST', ...clone(131));
  await run('POST', `${QEMU}/131/template`, '');
  await run('DELETE', `${QEMU}/131`);
  assert.deepEqual(
    types.join(' '),
    'qmcreate qmconfig qmstart qmshutdown qmstart qmstop resize qmmove resize qmigrate qmclone qmtemplate qmdestroy',
  );
});

test('tasks: an unknown UPID is said in so many words', async ({ lab }) => {
  const upid = 'UPID:pve-01:00000001:00000001:00000001:qmstart:1:a@b:';
  for (const what of ['status', 'log'])
    assert.deepEqual((await ask(lab, 'GET', `/nodes/pve-01/tasks/${upid}/${what}`)).errors, { upid: 'no such task' });
});

test('agent: not configured; VM not running; agent not running', async () => {
  await inLab({ latency: { boot: 60_000 } }, async (lab) => {
    const said = async () => (await ask(lab, 'GET', `${QEMU}/120/agent/network-get-interfaces`)).message;
    await exitOf(lab, 'POST', ...clone(120));
    assert.equal(await said(), 'VM 120 is not running\n');
    await exitOf(lab, 'POST', `${QEMU}/120/status/start`, '');
    assert.equal(await said(), 'QEMU guest agent is not running\n');
    await exitOf(lab, 'POST', `${QEMU}/120/status/stop`, '');
    await ask(lab, 'PUT', `${QEMU}/120/config`, { body: 'delete=agent' });
    assert.equal(await said(), 'No QEMU guest agent configured\n');
  });
});

test('migrate: a local ISO that is still attached blocks it', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  await ask(lab, 'PUT', `${QEMU}/120/config`, { body: 'ide2=local:iso/ubuntu.iso,media%3Dcdrom' });
  const before = lab.pve.snapshot();
  const log = await logOf(lab, 'POST', `${QEMU}/120/migrate`, 'target=pve-02');
  assert.match(log, /can't migrate local disk 'local:iso\/ubuntu\.iso': local cdrom image/);
  assert.match(log, /TASK ERROR: migration aborted$/);
  assert.deepEqual(lab.pve.snapshot(), before);
  await ask(lab, 'PUT', `${QEMU}/120/config`, { body: 'ide2=none,media%3Dcdrom' });
  assert.equal(await exitOf(lab, 'POST', `${QEMU}/120/migrate`, 'target=pve-02'), 'OK');
});

test('migrate: a mapping that the other node does not have blocks it', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  await ask(lab, 'PUT', `${QEMU}/120/config`, { body: 'hostpci0=mapping%3Drtx4000ada' });
  const log = await logOf(lab, 'POST', `${QEMU}/120/migrate`, 'target=pve-02');
  assert.match(log, /can't migrate to 'pve-02': missing mapped devices hostpci0:rtx4000ada/);
});

test('others: shrinking fails in its task; a VM that runs is not destroyed', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  const shrink = await exitOf(lab, 'PUT', `${QEMU}/120/resize`, 'disk=scsi0&size=10G');
  assert.equal(shrink, 'shrinking disks is not supported');
  await exitOf(lab, 'POST', `${QEMU}/120/status/start`, '');
  const { status, message } = await ask(lab, 'DELETE', `${QEMU}/120`);
  assert.deepEqual([status, message], [500, 'VM 120 is running - destroy failed\n']);
  assert.equal(await exitOf(lab, 'POST', `${QEMU}/120/status/start`, ''), 'VM 120 already running');
});

const STARTS: [string, string, string][] = [
  ['a mapping that does not exist', 'hostpci0=mapping%3Dnone', "PCI device mapping not found for 'none'"],
  ['a bridge that does not exist', 'net0=virtio,bridge%3Dvmbr9', "bridge 'vmbr9' does not exist"],
];
for (const [name, body, exit] of STARTS) {
  test(`others: a start with ${name} fails in its task`, async () => {
    const privileges = { ...defaultPrivileges('vmbr0'), '/sdn/zones/localnetwork': ['SDN.Use'] };
    await inLab({ token: { id: TOKEN, secret: SECRET, privileges } }, async (lab) => {
      await exitOf(lab, 'POST', ...clone(120));
      assert.equal((await ask(lab, 'PUT', `${QEMU}/120/config`, { body })).status, 200);
      assert.equal(await exitOf(lab, 'POST', `${QEMU}/120/status/start`, ''), exit);
    });
  });
}

test('staleness: a new VM is unknown and nameless until the next broadcast, its lock is not', async () => {
  await inLab({ latency: { broadcast: 2000 } }, async (lab) => {
    lab.pve.faults.set('under way', { kind: 'hang-task', type: 'qmclone' });
    const { data } = await ask(lab, 'POST', clone(120)[0], { body: clone(120)[1] });
    const shown = async () => {
      const { data: all } = await ask(lab, 'GET', '/cluster/resources?type=vm');
      return (all as Record<string, unknown>[]).find(({ vmid }) => vmid === 120);
    };
    const early = { id: 'qemu/120', type: 'qemu', vmid: 120, node: 'pve-01', status: 'unknown' };
    assert.deepEqual(await shown(), { ...early, lock: 'clone' });
    lab.pve.faults.clear();
    assert.equal(await taskOf(lab, String(data)), 'OK');
    assert.deepEqual(await shown(), early);
    await until(async () => (await shown())?.status === 'stopped');
    assert.equal((await shown())?.name, 'Copy-of-VM-ubuntu-24.04');
  });
});

test.run();
