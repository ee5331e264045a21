import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { suite } from 'uvu';
import type { Acl } from '../lib/lab/pve/types.ts';
import { openLab } from '../lib/lab-context.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { aclOf, type Granted, missingPrivileges, neededPrivileges } from '../lib/plan/privileges.ts';
import { ask, QEMU, taskOf, ticketOf, until } from './pve-client.ts';
import { SECRET, type TestLab, TOKEN, testLab } from './pve-fixture.ts';

/**
 * The least set of privileges that `check --role` prints: with it every call of ours, of the Terraform provider and of
 * Packer works; each privilege that is taken away breaks the calls that need it, and no other.
 */
const test = suite('the least privileges');

const { config } = openLab(join(TOOLKIT, 'homelab.yaml'), {}).lab;
const NEEDS = neededPrivileges(config);
const LEAST: Acl = aclOf(NEEDS);
const PAIRS = NEEDS.flatMap(({ path, privileges }) => privileges.map((privilege) => ({ path, privilege })));

/** Where Proxmox names no privilege: one of several would have been enough. */
const UNNAMED = 'Permission check failed';
const ISO = '/nodes/pve-01/storage/local';
const DISK = `/nodes/pve-01/storage/local-zfs/content/${encodeURIComponent('local-zfs:vm-120-disk-0')}`;

/** A call as a client makes it, on a VM that is prepared for it. */
type Call = { name: string; needs: string[]; unnamed?: string[]; run: (as: Caller) => Promise<string | undefined> };
type Caller = {
  /** @returns why it is refused, at once or in its task */
  try: (method: string, path: string, body?: string) => Promise<string | undefined>;
  get: <T>(path: string) => Promise<T>;
  upload: () => Promise<string | undefined>;
};

const put = (name: string, body: string, needs: string[]): Call => ({
  name: `config: ${name}`,
  needs,
  run: (as) => as.try('PUT', `${QEMU}/120/config`, body),
});
const simple = (name: string, needs: string[], method: string, path: string, body?: string): Call => ({
  name,
  needs,
  run: (as) => as.try(method, path, body),
});
const shown = (name: string, needs: string[], look: (as: Caller) => Promise<boolean>): Call => ({
  name,
  needs,
  run: async (as) => ((await look(as)) ? undefined : 'not shown'),
});

const BRIDGE = '/sdn/zones/localnetwork/vmbr0 SDN.Use';
const SPACE = '/storage/local-zfs Datastore.AllocateSpace';
const vms = (...names: string[]): string[] => names.map((name) => `/vms VM.${name}`);

const CALLS: Call[] = [
  shown('VMs in the list', vms('Audit'), async (as) =>
    (await as.get<{ vmid: number }[]>('/cluster/resources?type=vm')).some(({ vmid }) => vmid === 120),
  ),
  simple('read a configuration', vms('Audit'), 'GET', `${QEMU}/120/config`),
  simple('read a status', vms('Audit'), 'GET', `${QEMU}/120/status/current`),
  {
    ...simple('clone', [...vms('Clone', 'Allocate'), SPACE, BRIDGE], 'POST', `${QEMU}/9000/clone`, 'newid=150&full=1'),
    unnamed: vms('Allocate'),
  },
  simple('migrate', vms('Migrate'), 'POST', `${QEMU}/121/migrate`, 'target=pve-02&with-local-disks=1'),
  simple('make a template', vms('Allocate'), 'POST', `${QEMU}/122/template`, ''),
  simple('destroy', vms('Allocate'), 'DELETE', `${QEMU}/123?purge=1&destroy-unreferenced-disks=1`),
  put('cores', 'cores=4&sockets=1&cpu=host&numa=0', vms('Config.CPU')),
  put('memory', 'memory=4096&balloon=0', vms('Config.Memory')),
  put('hardware', 'machine=q35&scsihw=virtio-scsi-single&vga=std&tablet=0', vms('Config.HWType')),
  put('options', 'name=web&onboot=1&agent=1&bios=ovmf&ostype=l26&tags=k3s', vms('Config.Options')),
  put('a card', 'net0=model%3Dvirtio,bridge%3Dvmbr0,tag%3D11', [...vms('Config.Network'), BRIDGE]),
  put('cards that are not there', 'delete=net1,net2', vms('Config.Network')),
  put('a slot that is empty', 'delete=ide3', []),
  put('the cloud-init drive', 'ide2=local-zfs:cloudinit', vms('Config.Cloudinit', 'Config.CDROM')),
  put('cloud-init: either privilege is enough', 'ciuser=ops&ipconfig0=ip%3Ddhcp', []),
  put('eject', 'ide0=none,media%3Dcdrom', vms('Config.CDROM')),
  put('boot order', 'boot=order%3Dscsi0', vms('Config.Disk')),
  put('a new disk', 'scsi1=local-zfs:1', [...vms('Config.Disk'), SPACE]),
  put('a GPU', 'hostpci0=mapping%3Drtx4000ada,pcie%3D1', [
    ...vms('Config.HWType'),
    '/mapping/pci/rtx4000ada Mapping.Use',
  ]),
  simple('grow a disk', [...vms('Config.Disk'), SPACE], 'PUT', `${QEMU}/120/resize`, 'disk=scsi0&size=30G'),
  shown('the GPU mapping in the list', ['/mapping/pci/rtx4000ada Mapping.Use'], async (as) =>
    (await as.get<{ id: string }[]>('/cluster/mapping/pci')).some(({ id }) => id === 'rtx4000ada'),
  ),
  simple('start', vms('PowerMgmt'), 'POST', `${QEMU}/124/status/start`, 'timeout=1800'),
  simple('shut down', vms('PowerMgmt'), 'POST', `${QEMU}/125/status/shutdown`, 'forceStop=1'),
  simple('the agent: addresses', vms('GuestAgent.Audit'), 'GET', `${QEMU}/126/agent/network-get-interfaces`),
  simple('the agent: a file', vms('GuestAgent.FileRead'), 'GET', `${QEMU}/126/agent/file-read?file=/etc/hostname`),
  simple('type a key', vms('Console'), 'PUT', `${QEMU}/126/sendkey`, 'key=ret'),
  {
    ...simple(
      'create a VM with an ISO',
      [...vms('Allocate', 'Config.CPU', 'Config.Memory', 'Config.HWType', 'Config.Options', 'Config.Network')].concat(
        SPACE,
        BRIDGE,
      ),
      'POST',
      QEMU,
      'vmid=151&name=build&cores=2&memory=2048&machine=q35&agent=1&scsi0=local-zfs:8&net0=virtio,bridge%3Dvmbr0&ide2=local:iso/ubuntu.iso,media%3Dcdrom',
    ),
    unnamed: vms('Allocate'),
  },
  { name: 'upload a CD', needs: ['/storage/local Datastore.AllocateTemplate'], run: (as) => as.upload() },
  {
    ...simple(
      'download an ISO',
      ['/storage/local Datastore.AllocateTemplate', '/nodes Sys.AccessNetwork'],
      'POST',
      `${ISO}/download-url`,
      `content=iso&filename=a.iso&url=https://x/a.iso&checksum-algorithm=sha256&checksum=${'ab'.repeat(32)}`,
    ),
    unnamed: ['/nodes Sys.AccessNetwork'],
  },
  simple('delete a CD', ['/storage/local Datastore.Allocate'], 'DELETE', `${ISO}/content/local:iso/cidata.iso`),
  simple('list ISOs', ['/storage/local Datastore.Audit'], 'GET', `${ISO}/content?content=iso`),
  simple('look at a disk', ['/storage/local-zfs Datastore.Audit', ...vms('Config.Disk')], 'GET', DISK),
  simple(
    'add a storage',
    ['/storage Datastore.Allocate'],
    'POST',
    '/storage',
    'storage=nas&type=nfs&server=h&export=/e',
  ),
  shown('the storage on the NAS in the list', ['/storage Datastore.Audit'], async (as) =>
    (await as.get<{ storage: string }[]>('/storage')).some(({ storage }) => storage === 'nas-vmstorage'),
  ),
  shown('memory of a node', ['/nodes Sys.Audit'], async (as) =>
    (await as.get<{ maxmem?: number }[]>('/nodes')).every(({ maxmem }) => maxmem !== undefined),
  ),
];

test('with the least set everything works', async () => {
  assert.deepEqual(await refusals(LEAST), {});
});

test('each privilege of the least set is needed by a call, and no call needs another', () => {
  const needed = new Set(CALLS.flatMap(({ needs }) => needs));
  assert.deepEqual([...needed].sort(), PAIRS.map(({ path, privilege }) => `${path} ${privilege}`).sort());
});

for (const { path, privilege } of PAIRS) {
  test(`without ${privilege} on ${path}: what needs it is refused, the rest works`, async () => {
    const pair = `${path} ${privilege}`;
    const acl = { ...LEAST, [path]: (LEAST[path] ?? []).filter((name) => name !== privilege) };
    const broken = CALLS.filter(({ needs }) => needs.includes(pair));
    const seen = await refusals(acl, (granted) =>
      assert.deepEqual(
        missingPrivileges(NEEDS, granted).map((need) => [need.path, need.privileges]),
        [[path, [privilege]]],
      ),
    );
    assert.deepEqual(
      Object.keys(seen),
      broken.map(({ name }) => name),
    );
    for (const { name, unnamed } of broken) {
      const said = seen[name] ?? '';
      if (unnamed?.includes(pair)) assert.equal(said, UNNAMED, name);
      else if (said !== 'not shown') assert.match(said, new RegExp(`^Permission check failed \\(.*${privilege}`), name);
    }
  });
}

test('a token has what both it and its owner have', async () => {
  const ownerPrivileges = { ...LEAST, '/vms': (LEAST['/vms'] ?? []).filter((name) => name !== 'VM.Clone') };
  const seen = await refusals(LEAST, undefined, ownerPrivileges);
  assert.deepEqual(seen, { clone: 'Permission check failed (/vms/9000, VM.Clone)' });
});

/** What a token with these privileges is refused, by the name of the call. */
async function refusals(
  privileges: Acl,
  onGranted: (granted: Granted) => void = () => undefined,
  ownerPrivileges?: Acl,
): Promise<Record<string, string>> {
  const lab = await testLab({ token: { id: TOKEN, secret: SECRET, privileges, ownerPrivileges }, isoSizes: true });
  try {
    await prepare(lab);
    onGranted((await ask(lab, 'GET', '/access/permissions')).data as Granted);
    const seen: Record<string, string> = {};
    for (const { name, run } of CALLS) {
      const said = await run(callerOf(lab));
      if (said !== undefined) seen[name] = said;
    }
    return seen;
  } finally {
    await lab.close();
  }
}

/** VMs for the calls, so that one that is refused spoils none of the others. */
async function prepare(lab: TestLab): Promise<void> {
  lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'ubuntu-24.04', storage: 'local-zfs', diskGib: 20 });
  for (const volid of ['local:iso/ubuntu.iso', 'local:iso/cidata.iso'])
    lab.pve.addIso({ node: 'pve-01', volid, bytes: 2 ** 20 });
  const headers = await ticketOf(lab);
  const root = (method: string, path: string, body?: string) => ask(lab, method, path, { auth: '', headers, body });
  for (const vmid of [120, 121, 122, 123, 124]) lab.pve.addStranger({ vmid, node: 'pve-01', name: `vm-${vmid}` });
  await root('PUT', `${QEMU}/120/config`, 'ide0=local:iso/ubuntu.iso,media%3Dcdrom');
  for (const vmid of [125, 126]) {
    const { data } = await root('POST', `${QEMU}/9000/clone`, `newid=${vmid}&full=1`);
    assert.equal(await taskOf(lab, String(data), headers), 'OK');
    await root('POST', `${QEMU}/${vmid}/status/start`, '');
  }
  await until(async () => (await root('GET', `${QEMU}/126/agent/info`)).status === 200);
}

function callerOf(lab: TestLab): Caller {
  const outcome = async ({ status, data, message, reason }: Awaited<ReturnType<typeof ask>>) => {
    if (status !== 200) return message.trim() || reason;
    if (!/^UPID:/.test(String(data))) return undefined;
    const exit = await taskOf(lab, String(data));
    return exit === 'OK' ? undefined : exit;
  };
  return {
    try: async (method, path, body) => outcome(await ask(lab, method, path, { body })),
    // The shape is the caller's knowledge of the API.
    get: async <T>(path: string) => (await ask(lab, 'GET', path)).data as T,
    upload: async () => {
      const part = (name: string, file = ''): string =>
        `--B\r\ncontent-disposition: form-data; name="${name}"${file}\r\n\r\niso\r\n`;
      const body = `${part('content')}${part('filename', '; filename="b.iso"')}--B--\r\n`;
      return outcome(await ask(lab, 'POST', `${ISO}/upload`, { body, type: 'multipart/form-data; boundary=B' }));
    },
  };
}

test.run();
