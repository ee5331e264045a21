import { strict as assert } from 'node:assert';
import { connect } from 'node:tls';
import { suite } from 'uvu';
import { ask, type Context, clone, configOf, exitOf, freshLabs, logOf, QEMU, taskOf, until } from './pve-client.ts';
import type { TestLab } from './pve-fixture.ts';

/**
 * What the calls of the Terraform provider (bpg) and of Packer depend on. A test's name starts with the client and its
 * phase. The clients themselves run in pve-terraform and pve-packer.
 */
const test = suite<Context>("the emulated Proxmox API: clients' calls");
freshLabs(test);

const VM = `${QEMU}/120`;
const KEY = 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB+/= ops@lab\n';
const form = (fields: Record<string, string>): string => new URLSearchParams(fields).toString();

test('bpg configure: TLS 1.3, trusted by the CA alone', async ({ lab }) => {
  const options = { host: '127.0.0.1', port: lab.pve.portOf('pve-01'), ca: lab.ca.certificate };
  const protocol = await new Promise((resolve, reject) => {
    const socket = connect({ ...options, minVersion: 'TLSv1.3' }, () => {
      resolve(socket.getProtocol());
      socket.destroy();
    });
    socket.on('error', reject);
  });
  assert.equal(protocol, 'TLSv1.3');
});

test('bpg cross-node: a storage says explicitly that it is not shared', async ({ lab }) => {
  const shared = async (storage: string) => {
    const { data } = await ask(lab, 'GET', `/nodes/pve-01/storage/${storage}/status`);
    return (data as { shared?: number }).shared;
  };
  assert.deepEqual([await shared('local-zfs'), await shared('nas-vmstorage')], [0, 1]);
});

test('bpg clone: answers a UPID, and the VM is in its pool', async ({ lab }) => {
  const fields = { newid: '120', full: '1', name: 'web', description: 'd', pool: 'lab', storage: 'nas-vmstorage' };
  const { data } = await ask(lab, 'POST', clone(120)[0], { body: form(fields) });
  assert.match(String(data), /^UPID:pve-01:.*:qmclone:9000:/);
  assert.equal(await taskOf(lab, String(data)), 'OK');
  assert.match(String((await configOf(lab, 120)).scsi0), /^nas-vmstorage:120\/vm-120-disk-/);
  assert.equal(lab.pve.snapshot().vms.find(({ vmid }) => vmid === 120)?.pool, 'lab');
});

test('bpg poll: exitstatus OK; of a failed task, its log ends with why', async ({ lab }) => {
  assert.equal(await exitOf(lab, 'POST', ...clone(120)), 'OK');
  lab.pve.faults.set('full', { kind: 'fill', storage: 'local-zfs', node: 'pve-01' });
  const log = await logOf(lab, 'POST', ...clone(121));
  assert.match(log, /^creating a clone of VM 9000 with ID 121\n/);
  assert.match(log, /\nTASK ERROR: clone failed: .*out of space$/);
});

test('bpg migrate: no lock in status/current, then onto another storage', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  const { data } = await ask(lab, 'GET', `${VM}/status/current`);
  assert.equal((data as { lock?: string }).lock, undefined);
  const body = form({ target: 'pve-02', 'with-local-disks': '1', targetstorage: 'nas-vmstorage' });
  assert.equal(await exitOf(lab, 'POST', `${VM}/migrate`, body), 'OK');
  assert.match(String((await configOf(lab, 120, 'pve-02')).scsi0), /^nas-vmstorage:120\//);
});

test('bpg cloud-init slot: delete=ide2 though there is none, synchronous, null', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  const { status, body } = await ask(lab, 'PUT', `${VM}/config`, { body: 'delete=ide2' });
  assert.deepEqual([status, body], [200, '{"data":null}']);
});

test('bpg main: one PUT with everything, null; secrets are masked, keys stay encoded', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  const body = form({
    ...{ agent: 'enabled=1,fstrim_cloned_disks=0,type=virtio', cores: '4', sockets: '1', cpu: 'host', memory: '4096' },
    ...{
      balloon: '0',
      net0: 'model=virtio,bridge=vmbr0,firewall=0,tag=11',
      ide2: 'file=local-zfs:cloudinit,media=cdrom',
    },
    delete: Array.from({ length: 31 }, (_, i) => `net${i + 1}`).join(','),
    ...{ ipconfig0: 'gw=10.20.11.1,ip=10.20.11.80/24', nameserver: '10.20.11.1', searchdomain: 'lab.example' },
    ...{ sshkeys: encodeURIComponent(KEY), ciuser: 'ops', cipassword: 'hunter2', onboot: '1', name: 'k3s-cp-01' },
    hostpci0: 'mapping=rtx4000ada,pcie=1,rombar=1,x-vga=0',
  });
  const reply = await ask(lab, 'PUT', `${VM}/config`, { body });
  assert.deepEqual([reply.status, reply.body], [200, '{"data":null}']);
  const config = await configOf(lab, 120);
  assert.deepEqual([config.cipassword, config.sshkeys], ['**********', encodeURIComponent(KEY)]);
  assert.deepEqual([config.ide2, config.onboot, config.cores], ['local-zfs:vm-120-cloudinit,media=cdrom', 1, 4]);
  assert.match(String(config.net0), /^virtio=BC:24:11:..:..:..,bridge=vmbr0,firewall=0,tag=11$/);
  assert.ok(!reply.body.includes('hunter2') && !JSON.stringify(config).includes('hunter2'));
});

test('bpg main: a card by virtio=MAC and by model=…,macaddr=… is the same card', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  const stored = async (net0: string) => {
    await ask(lab, 'PUT', `${VM}/config`, { body: form({ net0 }) });
    return (await configOf(lab, 120)).net0;
  };
  const expected = 'virtio=BC:24:11:00:00:01,bridge=vmbr0';
  assert.equal(await stored('virtio=BC:24:11:00:00:01,bridge=vmbr0'), expected);
  assert.equal(await stored('model=virtio,macaddr=bc:24:11:00:00:01,bridge=vmbr0'), expected);
});

test('bpg disk: options, then another storage, then a size in plain bytes that answers a UPID', async ({ lab }) => {
  await exitOf(lab, 'POST', ...clone(120));
  const { scsi0 } = await configOf(lab, 120);
  await ask(lab, 'PUT', `${VM}/config`, { body: form({ scsi0: `file=${scsi0},iothread=1` }) });
  assert.match(String((await configOf(lab, 120)).scsi0), /^local-zfs:vm-120-disk-1,discard=on,iothread=1,size=20G$/);
  const move = form({ disk: 'scsi0', storage: 'nas-vmstorage', delete: '1' });
  assert.equal(await exitOf(lab, 'POST', `${VM}/move_disk`, move), 'OK');
  const bytes = form({ disk: 'scsi0', size: String(30 * 2 ** 30) });
  const { data } = await ask(lab, 'PUT', `${VM}/resize`, { body: bytes });
  assert.match(String(data), /^UPID:pve-01:.*:resize:120:/);
  assert.equal(await taskOf(lab, String(data)), 'OK');
  assert.match(String((await configOf(lab, 120)).scsi0), /^nas-vmstorage:.*,size=30G$/);
});

test('bpg start, agent wait: 500 until the guest is up, then its addresses', async ({ lab }) => {
  await started(lab);
  const { data } = await ask(lab, 'GET', `${VM}/status/current`);
  assert.equal((data as { status: string }).status, 'running');
  const { body } = await ask(lab, 'GET', `${VM}/agent/network-get-interfaces`);
  assert.match(body, /"ip-address-type":"ipv4"/);
});

test('bpg refresh: all that it reads is there', async ({ lab }) => {
  await started(lab);
  const { data } = await ask(lab, 'GET', '/cluster/resources?type=vm');
  assert.ok((data as { vmid: number; name: string }[]).some(({ vmid, name }) => vmid === 120 && name === 'web'));
  const volid = String((await configOf(lab, 120)).scsi0).split(',')[0] ?? '';
  for (const path of [
    `${VM}/config`,
    `${VM}/status/current`,
    `/nodes/pve-01/storage/local-zfs/content/${encodeURIComponent(volid)}`,
    '/pools',
    `${VM}/agent/network-get-interfaces`,
  ])
    assert.equal((await ask(lab, 'GET', path)).status, 200, path);
});

test('bpg destroy: shutdown, delete by query, then status/current is an error', async ({ lab }) => {
  await started(lab);
  assert.equal(await exitOf(lab, 'POST', `${VM}/status/shutdown`, 'forceStop=1&timeout=600'), 'OK');
  assert.equal(await exitOf(lab, 'DELETE', `${VM}?destroy-unreferenced-disks=1&purge=1`), 'OK');
  const { status, message } = await ask(lab, 'GET', `${VM}/status/current`);
  assert.deepEqual([status, message], [500, "Configuration file 'nodes/pve-01/qemu-server/120.conf' does not exist\n"]);
  assert.ok(!lab.pve.snapshot().volumes.some(({ vmid }) => vmid === 120));
});

test('bpg VMID, Packer version, nextid, permissions: the VMID is a string', async ({ lab }) => {
  assert.match((await ask(lab, 'GET', '/version')).body, /"version":"9\./);
  assert.equal((await ask(lab, 'GET', '/cluster/nextid')).data, '100');
  const granted = (await ask(lab, 'GET', '/access/permissions')).data as Record<string, Record<string, number>>;
  assert.equal(granted['/vms']?.['VM.Config.CDROM'], 1);
});

test('Packer upload: a multipart file, stored under its own name', async ({ lab }) => {
  const part = (name: string, value: string, file = ''): string =>
    `--B\r\ncontent-disposition: form-data; name="${name}"${file}\r\n\r\n${value}\r\n`;
  const body = `${part('content', 'iso')}${part('filename', 'x'.repeat(1000), '; filename="cidata.iso"')}--B--\r\n`;
  const path = '/nodes/pve-01/storage/local/upload';
  const { data } = await ask(lab, 'POST', path, { body, type: 'multipart/form-data; boundary=B' });
  assert.match(String(data), /:imgcopy::/);
  assert.equal(await taskOf(lab, String(data)), 'OK');
  const { data: found } = await ask(lab, 'GET', '/nodes/pve-01/storage/local/content/local:iso/cidata.iso');
  assert.equal((found as { size: number }).size, 1000);
});

test('Packer build: create, start, keys, address, config, shutdown, template, config; each as it expects', async ({
  lab,
}) => {
  const create = form({
    ...{ vmid: '120', name: 'build', agent: '1', cores: '2', memory: '2048', bios: 'ovmf', machine: 'q35' },
    ...{ scsihw: 'virtio-scsi-single', efidisk0: 'local-zfs:1,efitype=4m', scsi0: 'local-zfs:20,discard=on' },
    ...{ net0: 'model=virtio,bridge=vmbr0', ide2: 'local:iso/ubuntu.iso,media=cdrom', description: 'ephemeral' },
  });
  assert.equal(await exitOf(lab, 'POST', QEMU, create), 'OK');
  assert.equal(await exitOf(lab, 'POST', `${VM}/status/start`, ''), 'OK');
  const key = await ask(lab, 'PUT', `${VM}/sendkey`, { body: 'key=spc' });
  assert.deepEqual([key.status, key.body], [200, '{"data":null}']);
  await agentUp(lab);
  const { data } = await ask(lab, 'GET', `${VM}/agent/network-get-interfaces`);
  for (const { statistics, 'ip-addresses': addresses } of (data as { result: Interface[] }).result) {
    assert.equal(Object.keys(statistics).sort().join(' '), STATISTICS);
    for (const { prefix } of addresses) assert.equal(typeof prefix, 'number');
  }
  assert.match(String((await configOf(lab, 120)).ide2), /^local:iso\/ubuntu\.iso,media=cdrom/);
  assert.equal(await exitOf(lab, 'POST', `${VM}/status/shutdown`, ''), 'OK');
  assert.equal(await exitOf(lab, 'POST', `${VM}/template`, ''), 'OK');
  const last = form({ name: 'ubuntu', description: 'done', ide2: 'none,media=cdrom', delete: 'scsi1' });
  assert.equal(await exitOf(lab, 'POST', `${VM}/config`, last), 'OK');
  const config = await configOf(lab, 120);
  assert.deepEqual([config.template, config.name, config.ide2], [1, 'ubuntu', 'none,media=cdrom']);
});

test('Packer failure: what runs is stopped and deleted', async ({ lab }) => {
  await started(lab);
  assert.equal(await exitOf(lab, 'POST', `${VM}/status/stop`, ''), 'OK');
  assert.equal(await exitOf(lab, 'DELETE', VM), 'OK');
  assert.deepEqual(
    lab.pve.snapshot().vms.map(({ vmid }) => vmid),
    [9000],
  );
});

type Interface = { statistics: Record<string, number>; 'ip-addresses': { prefix: number }[] };
const STATISTICS = 'rx-bytes rx-dropped rx-errs rx-packets tx-bytes tx-dropped tx-errs tx-packets';

/** VM 120, cloned and started, with an agent that answers. */
async function started(lab: TestLab): Promise<void> {
  assert.equal(await exitOf(lab, 'POST', ...clone(120, 'full=1&name=web')), 'OK');
  assert.equal(await exitOf(lab, 'POST', `${VM}/status/start`, 'timeout=1800'), 'OK');
  await agentUp(lab);
}

async function agentUp(lab: TestLab): Promise<void> {
  await until(async () => (await ask(lab, 'GET', `${VM}/agent/network-get-interfaces`)).status === 200);
}

test.run();
