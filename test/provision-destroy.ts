import { strict as assert } from 'node:assert';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, type Test } from 'uvu';
import type { Tool } from '../lib/lab/tools/index.ts';
import { type FaultLab, startFaultLab, stateText } from './provision-faults.ts';
import { gate } from './pve-fixture.ts';

/**
 * --destroy, --import, replacements and their consent, as whole runs. With the stand-in for Terraform and with the
 * real one the same has to come out.
 * @param missing why the real one cannot take part
 */
export function destroyAndImport(name: string, standIns: readonly Tool[], missing?: string): Test {
  const test = suite(name);
  const withTerraform = gate(test, 'terraform', missing);
  let lab: FaultLab;
  test.before(async () => {
    if (missing !== undefined) return;
    lab = await startFaultLab(undefined, {}, standIns);
    await ends(0);
  });
  test.after(async () => {
    if (missing !== undefined) return;
    assert.deepEqual(lab.pve.problems, []);
    await lab.close();
  });

  /** Runs provision, which must end with `code`. @returns what it said */
  async function ends(code: number, ...args: string[]): Promise<string> {
    const { code: ended, stdout, stderr } = await lab.run('provision', ...args);
    assert.equal(ended, code, stdout + stderr);
    return stdout + stderr;
  }
  /** What was asked of Proxmox that changes something, since the last call. */
  let asked = 0;
  const writes = (): string[] => {
    const news = lab.pve.requests.slice(asked).filter(({ method }) => method !== 'GET');
    asked = lab.pve.requests.length;
    return news.map(({ method, path }) => `${method} ${path.replace(/\/$/, '')}`);
  };
  const vmids = (): number[] => lab.pve.snapshot().vms.map(({ vmid }) => vmid);
  const keys = (): string => readFileSync(join(lab.state, 'known_hosts'), 'utf8');

  withTerraform('a state that is lost: every VM is imported, none is touched', async () => {
    rmSync(join(lab.state, 'terraform', 'terraform.tfstate'));
    const before = lab.pve.snapshot();
    writes();
    const said = await ends(0);
    assert.equal(said.match(/✓ k3s-.*: import VM \d+ into Terraform's state/g)?.length, 3);
    assert.deepEqual(
      writes().filter((write) => !write.startsWith('PUT') || !write.endsWith('/config')),
      [],
      'nothing is restarted',
    );
    assert.deepEqual(lab.pve.snapshot(), before);
  });

  withTerraform('a VM that would be replaced is named, and that name must be given', async () => {
    lab.edit('node: pve-03, vmid: 201', 'node: pve-01, vmid: 201');
    writes();
    const refused = await ends(2, '--confirm', 'homelab', '--confirm', 'k3s-cp-01');
    for (const text of [
      'REPLACE k3s-cp-02 (VM 201 on pve-03, destroyed and made anew): Proxmox node: pve-03 → pve-01 (needs a new VM)',
      'is lost: VM k3s-cp-02 (201 on pve-03) with its disk; it is made anew, and empty; every volume of local-path on it',
      'is lost: the etcd member k3s-cp-02: 1 of 2 is left, 2 are needed: the API stops',
      'which volumes lie only on these VMs could not be asked: k3s-cp-01: ',
      'which backups there are could not be asked: ',
      'note: --confirm homelab was not asked for',
      'to fix: give --confirm k3s-cp-02 when that is wanted',
    ])
      assert.ok(refused.includes(text), `${text}\nis not in\n${refused}`);
    assert.deepEqual(writes(), []);
    await ends(0, '--confirm', 'k3s-cp-02');
    assert.equal(lab.pve.snapshot().vms.find(({ vmid }) => vmid === 201)?.node, 'pve-01');
  });

  withTerraform('--destroy --limit: the lab and the VM must be named; the rest stays', async () => {
    const limit = ['--destroy', '--limit', 'k3s-cp-02'];
    writes();
    assert.match(await ends(2, ...limit, '--confirm', 'homelab'), /give --confirm homelab,k3s-cp-02 when/);
    assert.deepEqual(writes(), []);
    const others = vmids().filter((vmid) => vmid !== 201);
    const said = await ends(0, ...limit, '--confirm', 'homelab,k3s-cp-02');
    assert.match(said, /DESTROY k3s-cp-02 \(VM 201 on pve-01\)/);
    assert.match(said, /leases stay \(k3s-cp-02 10\.20\.11\.81\)/);
    assert.match(said, /4 of 4 proofs hold/);
    assert.deepEqual(vmids(), others);
    assert.deepEqual(
      lab.pve.snapshot().volumes.filter(({ vmid }) => vmid === 201),
      [],
    );
    assert.ok(!keys().includes('k3s-cp-02') && keys().includes('k3s-cp-01'), keys());
  });

  withTerraform('a stranger at the VMID is taken over by --import only, and changed by the run after', async () => {
    const strange = { newid: 201, name: 'web', full: 1 };
    await lab.ports.pve.call('POST', '/nodes/pve-01/qemu/9000/clone', strange);
    const before = lab.pve.snapshot();
    const said = await ends(0, '--import', 'k3s-cp-02');
    assert.match(said, /the next run would\n {2}change k3s-cp-02 in place: .*cores: \d+ → 4/);
    assert.deepEqual(lab.pve.snapshot(), before);
    assert.match(await ends(3, '--check'), /change k3s-cp-02 in place: .*cores: \d+ → 4/);
    await ends(0);
    assert.equal(lab.pve.snapshot().vms.find(({ vmid }) => vmid === 201)?.config.name, 'k3s-cp-02');
  });

  withTerraform('a VMID that another lab has by now, under the same name, is left alone', async () => {
    const noted = (description: string): Promise<unknown> =>
      lab.ports.pve.call('PUT', '/nodes/pve-02/qemu/200/config', { description });
    await noted('homelab:other/k3s-cp-01');
    const before = lab.pve.snapshot();
    writes();
    for (const args of [[], ['--limit', 'k3s-cp-01'], ['--destroy', '--confirm', 'homelab']])
      assert.match(await ends(1, ...args), /VM 200 on pve-02 is k3s-cp-01 of the lab "other", and no more k3s-cp-01/);
    assert.deepEqual(writes(), []);
    assert.deepEqual(lab.pve.snapshot(), before);
    await noted('homelab:homelab/k3s-cp-01');
    await ends(0);
  });

  withTerraform('--destroy: killed half-way, with one VM removed by hand, and one that the state forgot', async () => {
    const state = JSON.parse(stateText(lab) ?? '') as { resources: { instances: { index_key: string }[] }[] };
    for (const resource of state.resources)
      resource.instances = resource.instances.filter(({ index_key }) => index_key !== 'k3s-gpu-01');
    writeFileSync(join(lab.state, 'terraform', 'terraform.tfstate'), JSON.stringify(state));
    await lab.ports.pve.call('POST', '/nodes/pve-01/qemu/201/status/stop');
    await lab.ports.pve.call('DELETE', '/nodes/pve-01/qemu/201');
    lab.pve.faults.set('slow', { kind: 'slow-task', type: 'qmdestroy', ms: 1500 });

    const run = lab.start(['--destroy', '--confirm', 'homelab', '--verbose']);
    await run.said(/forget k3s-cp-02 \(VM 201\), which is gone already/);
    await run.said(/… terraform apply/);
    run.child.kill('SIGKILL');
    await run.ended;
    lab.pve.faults.clear();

    const said = await ends(0, '--destroy', '--confirm', 'homelab');
    assert.match(said, /k3s-gpu-01 \(VM 210 on pve-01\) carries this lab's mark, .* and stays/);
    assert.deepEqual(vmids(), [210, 9000, 9001, 9002]);
    await ends(0, '--import', 'k3s-gpu-01');
    assert.match(await ends(0, '--destroy', '--confirm', 'homelab'), /DESTROY k3s-gpu-01/);
    assert.deepEqual(vmids(), [9000, 9001, 9002]);
    assert.match(await ends(0, '--destroy'), /there is nothing to destroy/);
  });

  withTerraform('a state that cannot be read, or is of another lab, is never taken for an empty one', async () => {
    const file = join(lab.state, 'terraform', 'terraform.tfstate');
    const whole = readFileSync(file, 'utf8');
    writes();
    writeFileSync(file, whole.slice(0, whole.length / 2));
    assert.match(await ends(1), /Terraform's state \(.*terraform\.tfstate\) cannot be read/);
    const attributes = { vm_id: 300, node_name: 'pve-01', description: 'homelab:other/db-01' };
    const instances = [{ index_key: 'db-01', schema_version: 0, attributes }];
    const resources = [{ mode: 'managed', type: 'proxmox_virtual_environment_vm', name: 'node', instances }];
    writeFileSync(file, JSON.stringify({ version: 4, resources }));
    assert.match(
      await ends(1, '--destroy', '--confirm', 'homelab'),
      /terraform\.tfstate is the state of the lab "other": it holds db-01 \(VM 300\)/,
    );
    assert.deepEqual(writes(), []);
  });
  return test;
}
