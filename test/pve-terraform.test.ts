import { strict as assert } from 'node:assert';
import { cpSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { PaperMachines, requireOrSkip, SECRET, type TestLab, TOKEN, testLab } from './pve-fixture.ts';

const PLUGINS = join(homedir(), '.terraform.d', 'plugins');
const PROVIDER = join(PLUGINS, 'registry.terraform.io/bpg/proxmox/0.111.1');

const exec = realExec();
const missing = !exec.which('terraform')
  ? 'terraform is not on PATH'
  : existsSync(PROVIDER)
    ? undefined
    : `the provider is not in ${PROVIDER}`;
const test = suite('the real Terraform provider against the emulator');

type Vm = { vmid: number; node: string; template_vmid: number; cores: number; gpu: string | null };

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
      ...{
        user: 'ops',
        ssh_keys: ['ssh-ed25519 AAAA+/=x ops@lab'],
        tags: ['k3s', 'homelab'],
        description: '',
        on_boot: true,
      },
    },
  ]);
  const endpoint = `https://127.0.0.1:${lab.pve.portOf('pve-01')}/`;
  return JSON.stringify({ lab: 'homelab', endpoint, nodes: Object.fromEntries(nodes) });
}

if (requireOrSkip('terraform', missing)) {
  test('init, plan, apply, no changes, change in place, destroy', async () => {
    const machines = new PaperMachines();
    const lab = await testLab({ machines });
    try {
      for (const [node, vmid] of [
        ['pve-01', 9000],
        ['pve-02', 9001],
        ['pve-03', 9002],
      ] as const)
        lab.pve.addTemplate({ vmid, node, name: 'ubuntu-24.04', storage: 'local-zfs', diskGib: 20 });
      const before = lab.pve.snapshot();

      const work = join(lab.folder, 'terraform');
      mkdirSync(work);
      for (const file of ['versions.tf', 'variables.tf', 'main.tf', 'outputs.tf', '.terraform.lock.hcl'])
        cpSync(join(TOOLKIT, 'terraform', file), join(work, file));
      const rc = join(lab.folder, 'terraform.rc');
      writeFileSync(rc, `provider_installation {\n  filesystem_mirror {\n    path = "${PLUGINS}"\n  }\n}\n`);
      const set = (vms: Record<string, Vm>): void =>
        writeFileSync(join(work, 'homelab.auto.tfvars.json'), variables(lab, vms));
      const terraform = async (...args: string[]): Promise<{ code: number; text: string }> => {
        const outcome = await exec.run(['terraform', ...args, '-no-color'], {
          cwd: work,
          deadline: 120,
          env: {
            TF_CLI_CONFIG_FILE: rc,
            SSL_CERT_FILE: lab.caFile,
            PROXMOX_VE_API_TOKEN: `${TOKEN}=${SECRET}`,
            CHECKPOINT_DISABLE: '1',
            TF_IN_AUTOMATION: '1',
          },
        });
        return { code: outcome.code, text: outcome.stdout + outcome.stderr };
      };
      const expect = (outcome: { code: number; text: string }, code: number, words: RegExp): void => {
        assert.equal(outcome.code, code, outcome.text);
        assert.match(outcome.text, words);
      };

      set(VMS);
      expect(await terraform('init', '-input=false'), 0, /successfully initialized/);
      assert.match(readFileSync(join(work, '.terraform.lock.hcl'), 'utf8'), /version\s+= "0\.111\.1"[^}]*h1:/);
      expect(await terraform('plan', '-input=false', '-detailed-exitcode'), 2, /3 to add, 0 to change, 0 to destroy/);
      expect(await terraform('apply', '-input=false', '-auto-approve'), 0, /3 added, 0 changed, 0 destroyed/);
      for (const [name, { vmid, node }] of Object.entries(VMS)) {
        const found = lab.pve.snapshot().vms.find((vm) => vm.vmid === vmid);
        assert.equal([found?.node, found?.status, found?.config.name].join(), `${node},running,${name}`);
      }
      assert.deepEqual(machines.booted.map(({ address }) => address).sort(), Object.values(ADDRESS).sort());
      const gpu = machines.booted.find(({ name }) => name === 'k3s-gpu-01');
      assert.deepEqual(gpu?.gpus, ['rtx4000ada']);
      assert.equal(gpu?.diskBytes, 50 * 2 ** 30);
      assert.deepEqual(gpu?.sshKeys, ['ssh-ed25519 AAAA+/=x ops@lab']);
      expect(await terraform('output', '-json', 'nodes'), 0, /"address":"10\.20\.11\.80".*"vmid":200/);

      expect(await terraform('plan', '-input=false', '-detailed-exitcode'), 0, /No changes/);

      const [name, vm] = ['k3s-cp-01', VMS['k3s-cp-01']!] as const;
      set({ ...VMS, [name]: { ...vm, cores: 6 } });
      expect(await terraform('apply', '-input=false', '-auto-approve'), 0, /0 added, 1 changed, 0 destroyed/);
      assert.equal(lab.pve.snapshot().vms.find(({ vmid }) => vmid === 200)?.config.cores, 6);
      expect(await terraform('plan', '-input=false', '-detailed-exitcode'), 0, /No changes/);

      expect(await terraform('destroy', '-input=false', '-auto-approve'), 0, /3 destroyed/);
      assert.deepEqual(lab.pve.snapshot(), before);
      assert.deepEqual(machines.destroyed.sort(), [200, 201, 210]);
      assert.deepEqual(lab.pve.problems, []);
    } finally {
      await lab.close();
    }
  });
}

test.run();
