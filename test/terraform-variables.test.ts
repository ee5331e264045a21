import { strict as assert } from 'node:assert';
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import { loadConfig } from '../lib/config/load.ts';
import type { Config } from '../lib/config/schema.ts';
import { allocateAll, openLedger } from '../lib/ledger/ledger.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { placeTemplates } from '../lib/plan/template-placement.ts';
import { realExec } from '../lib/ports/exec.ts';
import { renderTfvars } from '../lib/render/tfvars.ts';
import { gate } from './pve-fixture.ts';

/** What terraform/variables.tf takes and refuses, by the real Terraform: the variables alone, without a provider. */
const exec = realExec();
const test = suite('the variables of terraform/');
const withTerraform = gate(test, 'terraform', exec.which('terraform') ? undefined : 'terraform is not on PATH');

const folder = mkdtempSync(join(tmpdir(), 'homelab-variables-'));
test.before(() => {
  for (const name of readdirSync(join(TOOLKIT, 'terraform')).filter((one) => /^(variables|rules)/.test(one)))
    cpSync(join(TOOLKIT, 'terraform', name), join(folder, name));
});
test.after(() => rmSync(folder, { recursive: true, force: true }));

/** Only what must be given. */
const NODE = {
  ...{ vmid: 200, node: 'pve-02', template_vmid: 9001, cores: 4, memory_mib: 4096, disk_gib: 50, storage: 'local-zfs' },
  ...{ address_cidr: '10.20.11.80/24', gateway: '10.20.11.1', dns: ['10.20.11.1'], search_domain: 'home.arpa' },
  ...{ bridge: 'vmbr0', user: 'ops', ssh_keys: ['ssh-ed25519 AAAAC3Nz ops@lab'] },
};
const OTHER = { ...NODE, vmid: 201, address_cidr: '10.20.11.81/24' };
const LAB = { lab: 'homelab', endpoint: 'https://10.20.11.11:8006/', nodes: { a: NODE } };

type Variables = Record<string, unknown>;
const vm = (change: Variables): Variables => ({ ...LAB, nodes: { a: { ...NODE, ...change } } });
const two = (change: Variables, first: Variables = {}): Variables => ({
  ...LAB,
  nodes: { a: { ...NODE, ...first }, b: { ...OTHER, ...change } },
});

/** The exit code of `terraform plan`, and what it says of the variables, in one line. */
async function judged(variables: Variables | string): Promise<{ code: number; said: string }> {
  const file = join(folder, 'given.tfvars.json');
  writeFileSync(file, typeof variables === 'string' ? variables : JSON.stringify(variables));
  const argv = ['terraform', 'plan', '-json', '-input=false', '-lock=false', `-var-file=${file}`];
  const { code, stdout } = await exec.run(argv, { cwd: folder, deadline: 60, env: { TF_IN_AUTOMATION: '1' } });
  const messages = stdout
    .split('\n')
    .flatMap((line) => (line ? (JSON.parse(line) as { diagnostic?: { summary: string; detail: string } }) : []))
    .flatMap(({ diagnostic: found }) => (found ? `${found.summary}: ${found.detail}` : []));
  return { code, said: messages.join(' ').replaceAll(/\s+/g, ' ') };
}

const KEY = 'is not a public key; give it the line of a .pub file';
const PRIVATE = '-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXktdjEAAAAA\n-----END OPENSSH PRIVATE KEY-----\n';

/** What is given, and every complaint that it must get; Terraform has no other. */
const REFUSED: Record<string, [Variables, ...string[]]> = {
  'a lab that is no name': [{ ...LAB, lab: 'My Lab' }, 'lab "My Lab" is not a name'],
  'no TLS': [{ ...LAB, endpoint: 'http://10.20.11.11:8006/' }, 'endpoint "http://10.20.11.11:8006/" is not https://'],
  'an endpoint without a port': [{ ...LAB, endpoint: 'https://pve-01/' }, 'endpoint "https://pve-01/" is not https://'],
  'an endpoint with a path': [
    { ...LAB, endpoint: 'https://10.20.11.11:8006/api2/json' },
    'with its port and without a',
  ],
  'an endpoint with a password': [{ ...LAB, endpoint: 'https://u:p@10.20.11.11:8006/' }, 'is not https://HOST:PORT/'],
  'no VM at all': [{ ...LAB, nodes: {} }, 'nodes is empty, and every VM would be destroyed'],
  'null for all VMs': [{ ...LAB, nodes: null }, 'Required variable not set'],
  'a name with an underscore': [{ ...LAB, nodes: { k3s_cp: NODE } }, 'k3s_cp: name "k3s_cp" is not a host name'],
  'a name that is too long': [{ ...LAB, nodes: { ['a'.repeat(64)]: NODE } }, 'is not a host name'],
  'the name of a Proxmox node': [{ ...LAB, nodes: { 'pve-02': NODE } }, 'pve-02: another machine has that name'],
  'the name of another machine': [{ ...LAB, reserved: { a: '10.20.11.9' } }, 'a: another machine has that name'],
  'a Proxmox node that is no name': [vm({ node: 'pve 02' }), 'a: node "pve 02" is not a host name'],
  'a template on a node that is no name': [vm({ template_node: '' }), 'a: template_node "" is not a host name'],
  'a vmid that is too low': [vm({ vmid: 99 }), 'a: vmid 99 is not a whole number from 100 to 999999999.'],
  'a vmid that is too high': [vm({ vmid: 1e9 }), 'a: vmid 1000000000 is not a whole number from 100'],
  'half a vmid': [vm({ vmid: 200.5 }), 'a: vmid 200.5 is not a whole number'],
  'a vmid twice': [two({ vmid: 200 }), 'vmid 200 is used by both a and b; give one of them another.'],
  'the vmid of a template': [two({ vmid: 9001 }), 'b: vmid 9001 is that of a template'],
  'no core': [vm({ cores: 0 }), 'a: cores 0 is not a whole number from 1 to 512.'],
  'memory in GiB': [vm({ memory_mib: 64 }), 'a: memory_mib 64 is not a whole number from 1024'],
  'a disk that is too large': [vm({ disk_gib: 65537 }), 'a: disk_gib 65537 is not a whole number from 8 to 65536.'],
  "a disk smaller than the template's": [
    { ...vm({ disk_gib: 20 }), template_disk_gib: 32 },
    "a: disk_gib 20 is less than the template's 32, and a clone's disk never shrinks; give it at least 32.",
  ],
  'a template that is no template': [{ ...LAB, template_disk_gib: 4 }, 'template_disk_gib is 4; it is from 8 to 2048.'],
  'a storage that is no name': [vm({ storage: 'local zfs' }), 'a: storage "local zfs" is not a name'],
  'a bridge that is no name': [vm({ bridge: '' }), 'a: bridge "" is not a name'],
  'a mapping that is no name': [vm({ gpu: '0000:01:00.0' }), 'a: gpu "0000:01:00.0" is not a name'],
  'a GPU twice': [two({ gpu: 'rtx' }, { gpu: 'rtx' }), 'gpu rtx of pve-02 is used by both a and b'],
  'a vlan that is too high': [vm({ vlan: 4095 }), 'a: vlan 4095 is not a whole number from 1 to 4094.'],
  'an address without a prefix': [vm({ address_cidr: '10.20.11.80' }), 'a: address_cidr "10.20.11.80" is not an addr'],
  'an address with a leading zero': [
    vm({ address_cidr: '10.20.11.080/24' }),
    'a: address_cidr "10.20.11.080/24" is not',
  ],
  DHCP: [vm({ address_cidr: 'dhcp' }), 'a: address_cidr "dhcp" is not an address'],
  'the address of the network': [
    vm({ address_cidr: '10.20.11.0/24' }),
    'a: address_cidr 10.20.11.0 is the network addr',
  ],
  'the broadcast address': [
    vm({ address_cidr: '10.20.11.255/24' }),
    'address_cidr 10.20.11.255 is the broadcast address',
  ],
  'an address twice': [two({ address_cidr: '10.20.11.80/24' }), 'address 10.20.11.80 is used by both a and b'],
  'two networks': [
    two({ address_cidr: '10.20.12.5/24', gateway: '10.20.12.1' }),
    'a (10.20.11.80/24) and b (10.20.12.5/24)',
  ],
  'a gateway of another network': [vm({ gateway: '10.20.12.1' }), 'a: gateway 10.20.12.1 is outside 10.20.11.0/24'],
  'a gateway of the other family': [vm({ gateway: 'fd00::1' }), 'a: gateway fd00::1 is outside 10.20.11.0/24'],
  'a gateway that is none': [vm({ gateway: 'router' }), 'a: gateway "router" is not an IP address'],
  "the gateway's address": [vm({ address_cidr: '10.20.11.1/24', dns: ['9.9.9.9'] }), 'is that of the gateway too'],
  "a DNS server's address": [
    vm({ dns: ['10.20.11.80'] }),
    'a: address_cidr 10.20.11.80/24 is that of a DNS server too',
  ],
  "a host's address": [
    { ...LAB, reserved: { kvm: '10.20.11.80' } },
    'a: address_cidr 10.20.11.80/24 is the address of kvm',
  ],
  "an address of MetalLB's": [
    { ...LAB, reserved: { 'metallb.pool': '10.20.11.80-10.20.11.90' } },
    'a: address_cidr 10.20.11.80/24 is inside metallb.pool 10.20.11.80-10.20.11.90',
  ],
  'no DNS server': [vm({ dns: [] }), 'a: dns is empty'],
  'a DNS server that is no address': [
    vm({ dns: ['10.20.11.1', 'one.one.one.one'] }),
    'a: dns[1] "one.one.one.one" is not',
  ],
  'a search domain that is no name': [vm({ search_domain: 'home_arpa' }), 'a: search_domain "home_arpa" is not a DNS'],
  'a search domain with a label that is too long': [
    vm({ search_domain: `${'a'.repeat(64)}.arpa` }),
    'is not a DNS name, such as home.arpa',
  ],
  'a user with a capital': [vm({ user: 'Ops' }), 'a: user "Ops" is not the name of a Linux user'],
  'no key': [vm({ ssh_keys: [] }), 'a: ssh_keys is empty, and nobody could log in'],
  'a private key': [vm({ ssh_keys: [PRIVATE] }), 'a: ssh_keys[0] is a private key, which must never leave its machine'],
  "a key's file": [vm({ ssh_keys: ['~/.ssh/id_ed25519.pub'] }), `a: ssh_keys[0] ${KEY}`],
  'two keys in one': [vm({ ssh_keys: ['ssh-ed25519 AAAA a\nssh-ed25519 AAAA b'] }), `a: ssh_keys[0] ${KEY}`],
  'a tag with a space': [vm({ tags: ['my vm'] }), `a: tag "my vm" is not a tag of Proxmox's`],
  'a tag twice': [vm({ tags: ['k3s', 'k3s'] }), 'a: one of the tags k3s, k3s is there twice'],
  'a description that is too long': [vm({ description: 'x'.repeat(8193) }), 'a: description has 8193 characters'],
  'a missing value': [{ ...LAB, nodes: { a: { ...NODE, cores: undefined } } }, 'attribute "cores" is required'],
  'several at once': [
    two({ vmid: 200, user: '', cores: 0 }),
    'b: cores 0 is not a whole number',
    'b: user "" is not the name of a Linux user',
    'vmid 200 is used by both a and b',
  ],
};

for (const key of Object.keys(NODE)) REFUSED[`null for ${key}`] = [vm({ [key]: null }), `a: ${key} `];

for (const [name, [variables, ...complaints]] of Object.entries(REFUSED))
  withTerraform(`refused: ${name}`, async () => {
    const { code, said } = await judged(variables);
    assert.equal(code, 1, said);
    for (const complaint of complaints) assert.ok(said.includes(complaint), `"${complaint}" is not in: ${said}`);
    // Nothing else is found wrong, and no rule fails by itself.
    const rules = said.split('This was checked by the validation rule').length - 1;
    assert.ok(!/Error in function call|Invalid operand/.test(said), said);
    if (complaints.length === 1) assert.ok(rules <= 1, said);
    assert.ok(!said.includes('b3BlbnNzaC1rZXk'), 'a private key is not shown');
  });

/** Labs of homelab.yaml as provision renders them. */
function rendered(change: (config: Config) => void = () => {}): string {
  const { config } = loadConfig(join(TOOLKIT, 'homelab.yaml'));
  change(config);
  const { given } = allocateAll(openLedger(config, []), config.k3s.nodes, '2026-01-01');
  return renderTfvars(config, {
    endpoint: 'https://10.20.11.11:8006/',
    addresses: new Map(given.map(({ name, address }) => [name, address])),
    publicKey: 'ssh-rsa AAAAB3Nz/+== ops@lab\n',
    placement: placeTemplates(config, false),
  });
}

const TAKEN: Record<string, Variables | string> = {
  'the least': LAB,
  'several keys and servers': vm({ ssh_keys: [...NODE.ssh_keys, 'ssh-rsa AAAAB3 me'], dns: ['10.20.11.1', '9.9.9.9'] }),
  'a point-to-point network': vm({ address_cidr: '10.20.11.2/31', gateway: '10.20.11.3' }),
  'IPv6, as homelab.yaml takes it': vm({
    address_cidr: 'fd00:10::50/64',
    gateway: 'FD00:10:0::1',
    dns: ['fd00:10::1'],
  }),
  'the last address of an IPv6 network': vm({ address_cidr: 'fd00::ff/120', gateway: 'fd00::1' }),
  'a GPU of each node': two({ gpu: 'rtx', node: 'pve-03' }, { gpu: 'rtx' }),
  'one template for all': two({ template_node: 'pve-01', node: 'pve-03' }),
  'another machine beside it': { ...LAB, reserved: { kvm: '10.20.11.81', pool: '10.20.11.200-10.20.11.220' } },
  'homelab.yaml': rendered(),
  'a host for every rule': rendered(({ network }) => network.dhcp.push('10.20.11.150 - 10.20.11.199')),
};

for (const [name, variables] of Object.entries(TAKEN))
  withTerraform(`taken: ${name}`, async () => {
    const { code, said } = await judged(variables);
    assert.equal(code, 0, said);
  });

withTerraform('terraform/ is formatted', async () => {
  const { code, stdout } = await exec.run([
    'terraform',
    `-chdir=${join(TOOLKIT, 'terraform')}`,
    'fmt',
    '-check',
    '-diff',
  ]);
  assert.equal(code, 0, stdout);
});

test.run();
