import { cpSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Lab, openLab } from '../lib/lab-context.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { planNfs } from '../lib/plan/nfs.ts';
import type { NfsSeen, PveStorage } from '../lib/plan/nfs-seen.ts';
import { aclOf, neededPrivileges } from '../lib/plan/privileges.ts';
import { connectPve } from '../lib/ports/pve.ts';
import type { Pve } from '../lib/ports/types.ts';
import type { Step } from '../lib/step.ts';
import { proveStorages } from '../lib/verify/nfs.ts';
import { SECRET, type TestLab, TOKEN, testLab } from './pve-fixture.ts';

/** The storage on the NAS, added through the API by a token that has just what `check` asks for. */
const Storage = suite<{ world: TestLab; lab: Lab; pve: Pve }>('the Proxmox storage on the NAS');

Storage.before.each(async (context) => {
  const { config } = openLab(join(TOOLKIT, 'homelab.yaml'), {}).lab;
  const privileges = aclOf(neededPrivileges(config));
  context.world = await testLab({
    storages: [{ name: 'local-zfs', content: ['images'] }],
    token: { id: TOKEN, secret: SECRET, privileges },
  });
  const { folder, ca, pve } = context.world;
  cpSync(join(TOOLKIT, 'homelab.yaml'), join(folder, 'homelab.yaml'));
  writeFileSync(join(folder, 'pve-root-ca.pem'), ca.certificate);
  writeFileSync(join(folder, '.env'), `PROXMOX_TOKEN_SECRET=${SECRET}\n`, { mode: 0o600 });
  const opened = openLab(join(folder, 'homelab.yaml'), {});
  const nodeAt = (address: string): string => config.proxmox.nodes.find((node) => node.address === address)?.name ?? '';
  const endpoints = {
    rehearsal: true,
    mount: () => undefined,
    dial: (address: string) => ({ host: '127.0.0.1', port: pve.portOf(nodeAt(address)) }),
  };
  context.lab = opened.lab;
  context.pve = connectPve({ ...opened, endpoints });
});
Storage.after.each(({ world }) => world.close());

/** The steps about Proxmox, with everything else as it should be. */
async function planned(lab: Lab, pve: Pve): Promise<Step[]> {
  const storages = await pve.get<PveStorage[]>('/storage');
  const seen: NfsSeen = { nas: {}, hosts: {}, applications: [], now: 0, storages, cluster: { ok: false, reason: '' } };
  return planNfs(lab, seen).steps.filter(({ action }) => action.kind === 'pve');
}

async function applied(steps: Step[], pve: Pve): Promise<void> {
  for (const { action } of steps)
    if (action.kind === 'pve') await pve.call(action.method, action.path, action.params, action.deadline);
}

Storage('is added, and then there is nothing to do', async ({ lab, pve }) => {
  assert.equal(
    (await proveStorages(lab, { pve })).map(({ ok, detail }) => ({ ok, detail })),
    [{ ok: false, detail: 'nas-vmstorage is not there' }],
  );
  await applied(await planned(lab, pve), pve);
  assert.equal(await planned(lab, pve), []);
  assert.equal(await proveStorages(lab, { pve }), [
    { claim: 'every Proxmox node uses unas/VMStorage as nas-vmstorage', ok: true, detail: 'active on 3 nodes' },
  ]);
});

Storage('gets the content that it lacks, and keeps what it has', async ({ lab, pve }) => {
  const [step] = await planned(lab, pve);
  assert.ok(step?.action.kind === 'pve');
  await applied([{ ...step, action: { ...step.action, params: { ...step.action.params, content: 'vztmpl' } } }], pve);
  await applied(await planned(lab, pve), pve);
  assert.equal(await planned(lab, pve), []);
  const storages = await pve.get<PveStorage[]>('/storage');
  assert.is(storages.ok && storages.value[1]?.content, 'vztmpl,images,backup,iso');
});

Storage('another export behind the same name is disproved', async ({ lab, pve }) => {
  const params = { storage: 'nas-vmstorage', type: 'nfs', server: '10.20.10.20', export: '/other', content: 'iso' };
  await pve.call('POST', '/storage', params);
  const [proof] = await proveStorages(lab, { pve });
  assert.is(proof?.ok, false);
  assert.is(proof?.detail, 'nas-vmstorage is 10.20.10.20:/other, not 10.20.10.20:/var/nfs/shared/VMStorage');
});
Storage.run();
