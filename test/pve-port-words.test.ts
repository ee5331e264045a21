import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { inLab } from './pve-client.ts';
import { SECRET, TOKEN } from './pve-fixture.ts';
import { failure, portOf } from './pve-port-fixture.ts';

/** Where Proxmox says less than what is wrong, the port says the rest. */
const test = suite('the Proxmox port: what Proxmox does not say');

const SILENT: [what: string, privileges: Record<string, string[]>, path: string, lacks: RegExp][] = [
  ['a clone', { '/vms/9000': ['VM.Clone'] }, '/nodes/pve-01/qemu/9000/clone', /lacks VM\.Allocate on \/vms:.*--role/],
  ['a new VM', { '/vms': ['VM.Audit'] }, '/nodes/pve-01/qemu', /lacks VM\.Allocate on \/vms:.*--role/],
  [
    'a download',
    { '/storage': ['Datastore.AllocateTemplate'] },
    '/nodes/pve-01/storage/local/download-url',
    /lacks Sys\.AccessNetwork on \/nodes:.*--role/,
  ],
];
for (const [what, privileges, path, lacks] of SILENT) {
  test(`a 403 that names no privilege, of ${what}: the port names it`, async () => {
    await inLab({ token: { id: TOKEN, secret: SECRET, privileges } }, async (lab) => {
      const error = await failure(portOf(lab).call('POST', path, { newid: 120, vmid: 120 }));
      assert.equal(error.message, `POST ${path}: Permission check failed`);
      assert.match(error.fix ?? '', lacks);
    });
  });
}

test('a migration that is aborted: what to do stands in its log', async () => {
  await inLab({}, async (lab) => {
    lab.pve.addStranger({ vmid: 120, node: 'pve-01', name: 'x' });
    lab.pve.addIso({ node: 'pve-01', volid: 'local:iso/ubuntu.iso' });
    const pve = portOf(lab);
    await pve.call('PUT', '/nodes/pve-01/qemu/120/config', { ide2: 'local:iso/ubuntu.iso,media=cdrom' });
    const error = await failure(pve.call('POST', '/nodes/pve-01/qemu/120/migrate', { target: 'pve-02' }));
    assert.match(error.message, /task qmigrate on pve-01 failed: migration aborted$/);
    assert.match(error.output ?? '', /local cdrom image/);
    assert.match(error.fix ?? '', /CD\/DVD Drive → do not use any media/);
  });
});

test.run();
