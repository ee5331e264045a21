import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { aclOf, provisionPrivileges } from '../lib/plan/privileges.ts';
import { labOf } from './provision-fixture.ts';
import { gate, PaperMachines, SECRET, type TestLab, TOKEN, testLab } from './pve-fixture.ts';
import { APPLY, missing, VMS, workspace } from './pve-terraform-workspace.ts';

/**
 * What the real Terraform provider says when one of the privileges that provision asks for is missing: each by its name,
 * where Proxmox says it.
 */
const test = suite('the real Terraform provider without a privilege');
const needs = provisionPrivileges(labOf().config);
const least = aclOf(needs);

/** Not what the provider fails over: it waits on and on, or only warns; or they are of ours. Provision looks before. */
const OTHERS = ['VM.Audit', 'VM.GuestAgent.Audit', 'VM.GuestAgent.FileRead', 'Sys.Audit'];
const pairs = needs
  .flatMap(({ path, privileges }) => privileges.map((privilege) => ({ path, privilege })))
  .filter(({ privilege }) => !OTHERS.includes(privilege));

let outer: TestLab;
let work: ReturnType<typeof workspace>;
test.before(async () => {
  outer = await testLab();
  work = workspace(outer);
});
test.after(() => outer.close());
const withTerraform = gate(test, 'terraform', missing);

withTerraform('init', () => work.terraform('init -input=false', 0, /successfully initialized/));

for (const { path, privilege } of pairs) {
  withTerraform(`without ${privilege} on ${path}`, async () => {
    const privileges = { ...least, [path]: (least[path] ?? []).filter((name) => name !== privilege) };
    const token = { id: TOKEN, secret: SECRET, privileges };
    const lab = await testLab({ machines: new PaperMachines(), token });
    try {
      lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'ubuntu', storage: 'local-zfs', diskGib: 20 });
      work.set({ 'k3s-gpu-01': VMS['k3s-gpu-01']! }, lab);
      // Proxmox itself does not name what a clone needs for its new VMID.
      const says =
        privilege === 'VM.Allocate' ? /403 .*Permission check failed/ : `Permission check failed \\(.*${privilege}`;
      await work.terraform(`${APPLY} -state=${privilege}.tfstate`, 1, new RegExp(says));
      const refused = lab.pve.requests.filter(({ status }) => status === 403).map(({ message = '' }) => message);
      assert.ok(refused.length > 0 && refused.every((message) => message === refused[0]), 'it is all that it lacks');
    } finally {
      await lab.close();
    }
  });
}

test.run();
