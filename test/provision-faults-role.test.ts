import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Need, privilegeNotes, provisionPrivileges } from '../lib/plan/privileges.ts';
import { type FaultLab, oneVm, says, startFaultLab, terraformMissing } from './provision-faults.ts';
import { gate } from './pve-fixture.ts';

/** A token from whose role a privilege is missing: named before anything is begun. */
const test = suite('provision with the real Terraform: privileges');
const withTerraform = gate(test, 'terraform', await terraformMissing());
/** The token's role as the emulator has it; what is taken out of it is missing at once. */
let role: Record<string, string[]>;
let needs: Need[];
let lab: FaultLab;
test.before(async () => {
  lab = await startFaultLab(oneVm, {
    privileges: (config) => {
      needs = provisionPrivileges(config);
      role = Object.fromEntries(needs.map(({ path, privileges }) => [path, [...privileges]]));
      return role;
    },
  });
});
test.after(async () => {
  assert.deepEqual(lab.pve.problems, []);
  await lab.close();
});

/** Takes privileges away, does the work, and gives them back. */
async function without(missing: readonly [string, string][], work: () => Promise<void>): Promise<void> {
  for (const [path, name] of missing) role[path] = (role[path] ?? []).filter((one) => one !== name);
  try {
    await work();
  } finally {
    for (const { path, privileges } of needs) role[path] = [...privileges];
  }
}

withTerraform('one of them: exactly that is said, whichever it is', async () => {
  const all = needs.flatMap(({ path, privileges }) => privileges.map((name): [string, string] => [path, name]));
  assert.ok(all.length >= 17, String(all.length));
  for (const [path, name] of all)
    await without([[path, name]], async () => {
      const granted = await lab.ports.pve.get<Record<string, Record<string, number>>>('/access/permissions');
      const notes = privilegeNotes(lab.workspace.config, granted);
      assert.equal(notes.length, 1, `${path} ${name}`);
      assert.match(notes[0]?.text ?? '', new RegExp(`lacks ${name} on ${path} `));
    });
});

withTerraform('several: said together, and nothing is begun', async () => {
  const missing: [string, string][] = [
    ['/vms', 'VM.Clone'],
    ['/vms', 'VM.Config.Cloudinit'],
    ['/storage/local-zfs', 'Datastore.AllocateSpace'],
    ['/sdn/zones/localnetwork/vmbr0', 'SDN.Use'],
  ];
  const before = lab.pve.snapshot();
  const asked = lab.pve.requests.length;
  await without(missing, async () => {
    const ran = await lab.provision();
    assert.equal(ran.code, 1, ran.text);
    says(ran, /blocker: the token homelab@pve!toolkit lacks VM\.Clone, VM\.Config\.Cloudinit on \/vms/);
    says(ran, /lacks Datastore\.AllocateSpace on \/storage\/local-zfs/);
    says(ran, /lacks SDN\.Use on \/sdn\/zones\/localnetwork\/vmbr0/);
    says(ran, /check\.ts --role prints the commands/);
  });
  assert.deepEqual(lab.pve.snapshot(), before);
  assert.deepEqual(
    lab.pve.requests.slice(asked).filter(({ method }) => method !== 'GET'),
    [],
  );
});

// What a look needs itself must not hide behind what it then does not see.
for (const [path, name] of [
  ['/vms', 'VM.Audit'],
  ['/storage/local-zfs', 'Datastore.Audit'],
  ['/nodes', 'Sys.Audit'],
] as [string, string][])
  withTerraform(`${name} alone: named, though little can be seen without it`, async () => {
    await without([[path, name]], async () => {
      const ran = await lab.provision();
      assert.equal(ran.code, 1, ran.text);
      says(ran, new RegExp(`lacks ${name} on ${path}`));
    });
  });

withTerraform('one that is taken away between plan and apply, and given back', async () => {
  const run = lab.start(['--verbose']);
  await run.said(/… terraform plan/);
  role['/vms'] = (role['/vms'] ?? []).filter((one) => one !== 'VM.Config.Disk');
  const ran = await run.ended;
  assert.equal(ran.code, 1, ran.text);
  says(ran, /the token \(or its owner\) lacks the privilege VM\.Config\.Disk on \/vms\/200/);
  role['/vms']?.push('VM.Config.Disk');
  await lab.converges();
});

test.run();
