import { strict as assert } from 'node:assert';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import { defaultPrivileges } from '../lib/lab/pve/index.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { gate, PaperMachines, SECRET, type TestLab, TOKEN, testLab } from './pve-fixture.ts';

const PLUGINS = join(homedir(), '.terraform.d', 'plugins');
const PROVIDER = join(PLUGINS, 'registry.terraform.io/bpg/proxmox/0.111.1');

const exec = realExec();
const missing = !exec.which('terraform')
  ? 'terraform is not on PATH'
  : existsSync(PROVIDER)
    ? undefined
    : `the provider is not in ${PROVIDER}`;
const test = suite('the real Terraform provider against the emulator');

type Vm = {
  vmid: number;
  node: string;
  template_vmid: number;
  template_node?: string;
  cores: number;
  gpu: string | null;
};

const VMS: Record<string, Vm> = {
  'k3s-cp-01': { vmid: 200, node: 'pve-02', template_vmid: 9001, cores: 4, gpu: null },
  'k3s-cp-02': { vmid: 201, node: 'pve-03', template_vmid: 9002, cores: 4, gpu: null },
  'k3s-gpu-01': { vmid: 210, node: 'pve-01', template_vmid: 9000, cores: 8, gpu: 'rtx4000ada' },
};
const ADDRESS: Record<string, string> = {
  'k3s-cp-01': '10.20.11.80',
  'k3s-cp-02': '10.20.11.81',
  'k3s-gpu-01': '10.20.11.85',
};

function variables(lab: TestLab, vms: Record<string, Vm>): string {
  const nodes = Object.entries(vms).map(([name, vm]) => [
    name,
    {
      ...vm,
      ...{ memory_mib: 65536, disk_gib: 50, storage: 'local-zfs', address_cidr: `${ADDRESS[name]}/24` },
      ...{ gateway: '10.20.11.1', dns: ['10.20.11.1'], search_domain: 'home.arpa', bridge: 'vmbr0', vlan: 11 },
      ...{ user: 'ops', ssh_keys: ['ssh-ed25519 AAAA+/=x ops@lab'], tags: ['k3s', 'homelab'], on_boot: true },
    },
  ]);
  const endpoint = `https://127.0.0.1:${lab.pve.portOf('pve-01')}/`;
  return JSON.stringify({ lab: 'homelab', endpoint, nodes: Object.fromEntries(nodes) });
}

/** terraform/ as it is, in a folder of its own, and ways to run it there. */
function workspace(lab: TestLab) {
  const work = join(lab.folder, 'terraform');
  mkdirSync(work);
  for (const file of readdirSync(join(TOOLKIT, 'terraform')).filter((name) => /\.(tf|tftpl|hcl)$/.test(name)))
    cpSync(join(TOOLKIT, 'terraform', file), join(work, file));
  const rc = join(lab.folder, 'terraform.rc');
  writeFileSync(rc, `provider_installation {\n  filesystem_mirror {\n    path = "${PLUGINS}"\n  }\n}\n`);
  const env = {
    TF_CLI_CONFIG_FILE: rc,
    SSL_CERT_FILE: lab.caFile,
    PROXMOX_VE_API_TOKEN: `${TOKEN}=${SECRET}`,
    CHECKPOINT_DISABLE: '1',
    TF_IN_AUTOMATION: '1',
  };
  return {
    set: (vms: Record<string, Vm>): void => writeFileSync(join(work, 'homelab.auto.tfvars.json'), variables(lab, vms)),
    lockFile: (): string => readFileSync(join(work, '.terraform.lock.hcl'), 'utf8'),
    /** Runs a command line, and asserts its exit code and what it says. */
    terraform: async (line: string, code: number, says: RegExp): Promise<void> => {
      const argv = ['terraform', ...line.split(' '), '-no-color'];
      const outcome = await exec.run(argv, { cwd: work, deadline: 120, env });
      const text = outcome.stdout + outcome.stderr;
      assert.equal(outcome.code, code, text);
      // Terraform breaks lines where it likes.
      assert.match(text.replace(/\s+/g, ' '), says);
    },
  };
}

const PLAN = 'plan -input=false -detailed-exitcode';
const APPLY = 'apply -input=false -auto-approve';
const DESTROY = 'destroy -input=false -auto-approve';

const withTerraform = gate(test, 'terraform', missing);

withTerraform('init, plan, apply, no changes, change in place, destroy', async () => {
  const machines = new PaperMachines();
  const lab = await testLab({ machines });
  try {
    for (const { node, template_vmid: vmid } of Object.values(VMS))
      lab.pve.addTemplate({ vmid, node, name: 'ubuntu-24.04', storage: 'local-zfs', diskGib: 20 });
    const before = lab.pve.snapshot();
    const { set, terraform, lockFile } = workspace(lab);

    set(VMS);
    await terraform('init -input=false', 0, /successfully initialized/);
    assert.match(lockFile(), /version\s+= "0\.111\.1"[^}]*h1:/);
    await terraform(PLAN, 2, /3 to add, 0 to change, 0 to destroy/);
    await terraform(APPLY, 0, /3 added, 0 changed, 0 destroyed/);
    for (const [name, { vmid, node }] of Object.entries(VMS)) {
      const found = lab.pve.snapshot().vms.find((vm) => vm.vmid === vmid);
      assert.equal([found?.node, found?.status, found?.config.name].join(), `${node},running,${name}`);
    }
    assert.deepEqual(machines.booted.map(({ address }) => address).sort(), Object.values(ADDRESS).sort());
    const gpu = machines.booted.find(({ name }) => name === 'k3s-gpu-01');
    assert.deepEqual(gpu?.gpus, ['rtx4000ada']);
    assert.equal(gpu?.diskBytes, 50 * 2 ** 30);
    assert.deepEqual(gpu?.sshKeys, ['ssh-ed25519 AAAA+/=x ops@lab']);
    await terraform('output -json nodes', 0, /"address":"10\.20\.11\.80".*"vmid":200/);
    await terraform(PLAN, 0, /No changes/);

    set({ ...VMS, 'k3s-cp-01': { ...VMS['k3s-cp-01']!, cores: 6 } });
    await terraform(APPLY, 0, /0 added, 1 changed, 0 destroyed/);
    assert.equal(lab.pve.snapshot().vms.find(({ vmid }) => vmid === 200)?.config.cores, 6);
    await terraform(PLAN, 0, /No changes/);

    await terraform(DESTROY, 0, /3 destroyed/);
    assert.deepEqual(lab.pve.snapshot(), before);
    assert.deepEqual(machines.destroyed.sort(), [200, 201, 210]);
    assert.deepEqual(lab.pve.problems, []);
  } finally {
    await lab.close();
  }
});

withTerraform('one template on shared storage serves all nodes, and the disks move to their own', async () => {
  const lab = await testLab({ token: { id: TOKEN, secret: SECRET, privileges: defaultPrivileges('vmbr0') } });
  try {
    lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'u', storage: 'nas-vmstorage', diskGib: 20 });
    const before = lab.pve.snapshot();
    const { set, terraform } = workspace(lab);
    set({ 'k3s-cp-01': { ...VMS['k3s-cp-01']!, template_vmid: 9000, template_node: 'pve-01' } });
    await terraform('init -input=false', 0, /successfully initialized/);
    await terraform(APPLY, 0, /1 added, 0 changed, 0 destroyed/);
    const vm = lab.pve.snapshot().vms.find(({ vmid }) => vmid === 200);
    assert.equal(vm?.node, 'pve-02');
    assert.match(String(vm?.config.scsi0), /^local-zfs:vm-200-disk-0,.*size=50G/);
    await terraform(PLAN, 0, /No changes/);
    await terraform(DESTROY, 0, /1 destroyed/);
    assert.deepEqual(lab.pve.snapshot(), before);
  } finally {
    await lab.close();
  }
});

withTerraform('what Proxmox refuses, Terraform says in its words', async () => {
  const lab = await testLab({ token: { id: TOKEN, secret: SECRET, privileges: { '/vms': ['VM.Audit'] } } });
  try {
    const { set, terraform } = workspace(lab);
    lab.pve.addTemplate({ vmid: 9001, node: 'pve-02', name: 'u', storage: 'local-zfs', diskGib: 20 });
    set({ 'k3s-cp-01': VMS['k3s-cp-01']! });
    await terraform('init -input=false', 0, /successfully initialized/);
    await terraform(APPLY, 1, /Permission check failed \(\/vms\/9001, VM\.Clone\)/);
  } finally {
    await lab.close();
  }
});

test.run();
