import { strict as assert } from 'node:assert';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { SECRET, type TestLab, TOKEN } from './pve-fixture.ts';

const PLUGINS = join(homedir(), '.terraform.d', 'plugins');
const PROVIDER = join(PLUGINS, 'registry.terraform.io/bpg/proxmox/0.111.1');

const exec = realExec();
/** Why the real Terraform or its provider cannot be run here. */
export const missing = !exec.which('terraform')
  ? 'terraform is not on PATH'
  : existsSync(PROVIDER)
    ? undefined
    : `the provider is not in ${PROVIDER}`;

/** A VM as terraform/ takes it, as far as tests vary it. */
export type Vm = {
  vmid: number;
  node: string;
  template_vmid: number;
  template_node?: string;
  cores: number;
  gpu: string | null;
};

/** homelab.yaml's three. */
export const VMS: Record<string, Vm> = {
  'k3s-cp-01': { vmid: 200, node: 'pve-02', template_vmid: 9001, cores: 4, gpu: null },
  'k3s-cp-02': { vmid: 201, node: 'pve-03', template_vmid: 9002, cores: 4, gpu: null },
  'k3s-gpu-01': { vmid: 210, node: 'pve-01', template_vmid: 9000, cores: 8, gpu: 'rtx4000ada' },
};
export const ADDRESS: Record<string, string> = {
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

/** terraform/ as it is, in a folder of its own below a lab's, and ways to run it there. */
export function workspace(lab: TestLab) {
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
    /** Writes what VMs there shall be. @param at another lab than the one whose folder it is */
    set: (vms: Record<string, Vm>, at = lab): void =>
      writeFileSync(join(work, 'homelab.auto.tfvars.json'), variables(at, vms)),
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

export const PLAN = 'plan -input=false -detailed-exitcode';
export const APPLY = 'apply -input=false -auto-approve';
export const DESTROY = 'destroy -input=false -auto-approve';
