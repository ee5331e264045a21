import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import type { ProvisionSeen } from '../lib/observe/provision.ts';
import { verifyDestroyed, verifyImported } from '../lib/verify/provision-destroyed.ts';
import { fakePorts } from './fixtures/ports.ts';
import { vm } from './provision-fixture.ts';
import { done, lab, own } from './provision-seen.ts';

const test = suite('proofs of a destruction');

const other = vm({ vmid: 300, node: 'pve-01', name: 'web' });
const [first] = own;
const config = { scsi0: 'local-zfs:vm-200-disk-1,size=50G', ide2: 'local-zfs:vm-200-cloudinit,media=cdrom', cores: 4 };
const before: ProvisionSeen = { ...done, vms: { ok: true, value: [{ ...first!, config }, other] } };
const inState = JSON.stringify({
  version: 4,
  resources: [
    {
      mode: 'managed',
      type: 'proxmox_virtual_environment_vm',
      instances: [{ index_key: 'k3s-cp-01', attributes: { vm_id: 200, node_name: 'pve-02' } }],
    },
  ],
});

type Now = { vmids: number[]; volids?: string[]; state?: string };
/** Claims that do not hold, each with what was seen. */
async function broken({ vmids, volids = [], state }: Now): Promise<string[]> {
  const ports = fakePorts({
    pve: {
      get: async <T>(path: string) => {
        const content = path.includes('local-zfs') ? volids.map((volid) => ({ volid, vmid: 200 })) : [];
        const list = vmids.map((vmid) => ({ vmid, node: 'pve-01', type: 'qemu' }));
        return { ok: true as const, value: (path.endsWith('/content') ? content : list) as T };
      },
    },
    files: { text: async () => state },
  });
  const proofs = await verifyDestroyed(lab, ports, ['k3s-cp-01'], before);
  assert.equal(proofs.length, 4);
  return proofs.filter(({ ok }) => !ok).map(({ claim, detail }) => `${claim}: ${detail}`);
}

const cases: [what: string, now: Now, broken: string[]][] = [
  ['all is as it should be', { vmids: [300] }, []],
  [
    'a disk with its number that was not its own is none of its business',
    { vmids: [300], volids: ['local-zfs:vm-200-disk-9'] },
    [],
  ],
  ['the VM is there', { vmids: [200, 300] }, ['k3s-cp-01 (VM 200) is gone: it is on pve-01']],
  [
    'a disk of it is left',
    { vmids: [300], volids: ['local-zfs:vm-200-disk-1'] },
    ['the disks of VM 200 are gone: left: local-zfs:vm-200-disk-1'],
  ],
  ['the state knows it', { vmids: [300], state: inState }, ["Terraform's state knows none of them: k3s-cp-01"]],
  ['another VM is missing', { vmids: [] }, ['every other VM and template is still there: missing: web (300)']],
];
for (const [what, now, expected] of cases) test(what, async () => assert.deepEqual(await broken(now), expected));

test('nothing was there to destroy: nothing to prove', async () => {
  const seen = { ...before, terraform: { ...before.terraform, state: [] } };
  assert.deepEqual(await verifyDestroyed(lab, fakePorts(), undefined, seen), []);
});

test('what was imported is in the state', async () => {
  const proofs = await verifyImported(lab, fakePorts({ files: { text: async () => inState } }), [
    'k3s-cp-01',
    'k3s-cp-02',
  ]);
  assert.deepEqual(
    proofs.map(({ ok, detail }) => `${ok} ${detail}`),
    ['true VM 200 on pve-02', 'false it is not in it'],
  );
});

test.run();
