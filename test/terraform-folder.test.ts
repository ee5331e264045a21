import { strict as assert } from 'node:assert';
import { cpSync, existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { gate, SECRET, type TestLab, TOKEN, testLab } from './pve-fixture.ts';

/** terraform/ as a person runs it by hand, with the real provider: what is refused never reaches Proxmox. */
const test = suite('terraform by hand');
const exec = realExec();
const PLUGINS = join(homedir(), '.terraform.d', 'plugins');
const PROVIDER = join(PLUGINS, 'registry.terraform.io/bpg/proxmox/0.111.1');
const missing = !exec.which('terraform')
  ? 'terraform is not on PATH'
  : existsSync(PROVIDER)
    ? undefined
    : `the provider is not in ${PROVIDER}`;
const withTerraform = gate(test, 'terraform', missing);

/** Written by hand: nothing that may be left out. */
const NODE = {
  ...{ vmid: 200, node: 'pve-02', template_vmid: 9001, cores: 4, memory_mib: 4096, disk_gib: 50, storage: 'local-zfs' },
  ...{ address_cidr: '10.20.11.80/24', gateway: '10.20.11.1', dns: ['10.20.11.1'], search_domain: 'home.arpa' },
  ...{ bridge: 'vmbr0', user: 'ops', ssh_keys: ['ssh-ed25519 AAAAC3Nz ops@lab'] },
};
const BAD: Record<string, object> = {
  'an address outside of its network': { gateway: '10.20.12.1' },
  'a vmid that is too low': { vmid: 99 },
  'a private key': { ssh_keys: ['-----BEGIN OPENSSH PRIVATE KEY-----'] },
  'a disk that is too small': { disk_gib: 4 },
};

/** An initialised copy of terraform/. */
async function workspace(lab: TestLab) {
  const work = join(lab.folder, 'terraform');
  mkdirSync(work);
  for (const name of readdirSync(join(TOOLKIT, 'terraform')).filter((one) => /\.(tf|tftpl|hcl)$/.test(one)))
    cpSync(join(TOOLKIT, 'terraform', name), join(work, name));
  const rc = join(lab.folder, 'terraform.rc');
  writeFileSync(rc, `provider_installation {\n  filesystem_mirror {\n    path = "${PLUGINS}"\n  }\n}\n`);
  const env = {
    ...{ TF_CLI_CONFIG_FILE: rc, SSL_CERT_FILE: lab.caFile, PROXMOX_VE_API_TOKEN: `${TOKEN}=${SECRET}` },
    TF_IN_AUTOMATION: '1',
  };
  const terraform = (...argv: string[]) =>
    exec.run(['terraform', ...argv, '-no-color'], { cwd: work, deadline: 120, env });
  const init = await terraform('init', '-input=false');
  assert.equal(init.code, 0, init.stderr);
  const endpoint = `https://127.0.0.1:${lab.pve.portOf('pve-01')}/`;
  const given = (change: object): string => {
    const file = join(lab.folder, 'given.tfvars.json');
    writeFileSync(file, JSON.stringify({ lab: 'homelab', endpoint, nodes: { 'k3s-cp-01': { ...NODE, ...change } } }));
    return file;
  };
  return {
    terraform,
    given,
    plan: (change: object) => terraform('plan', '-input=false', `-var-file=${given(change)}`),
  };
}

withTerraform(
  'it is valid; what is wrong is refused before Proxmox is asked; the least that is right is made',
  async () => {
    const lab = await testLab();
    try {
      lab.pve.addTemplate({ vmid: 9001, node: 'pve-02', name: 'ubuntu-24.04', storage: 'local-zfs', diskGib: 20 });
      const { terraform, given, plan } = await workspace(lab);
      const valid = await terraform('validate');
      assert.equal(valid.code, 0, valid.stderr);
      const made = await terraform('apply', '-auto-approve', '-input=false', `-var-file=${given({})}`);
      assert.equal(made.code, 0, made.stderr);
      const before = lab.pve.requests.length;
      for (const [name, change] of Object.entries(BAD)) {
        const { code, stderr } = await plan(change);
        assert.equal(code, 1, name);
        assert.match(stderr, /Invalid value for variable[\s\S]*k3s-cp-01: /, name);
      }
      assert.equal(lab.pve.requests.length, before);

      const { code, stdout, stderr } = await plan({});
      assert.equal(code, 0, stderr);
      assert.match(stdout, /No changes/);
      assert.ok(lab.pve.requests.length > before);
      const six = await plan({ address_cidr: 'fd00:10::50/64', gateway: 'fd00:10::1' });
      assert.match(six.stdout, /\+ ipv6 \{\s+\+ address = "fd00:10::50\/64"\s+\+ gateway = "fd00:10::1"/, six.stderr);
      assert.ok(!six.stdout.includes('+ ipv4 {'));
    } finally {
      await lab.close();
    }
  },
);

test.run();
