import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Api, sleep } from './api.ts';
import { parseCommand, standIn } from './cli.ts';
import { runBySsh } from './packer-ssh.ts';

/**
 * Stands in for `packer` with its Proxmox builder, as far as build-template uses them. It reads no HCL but the
 * names of the variables: packer/ubuntu.pkr.hcl is known to it.
 */
type Variables = {
  endpoint: string;
  node: string;
  token_id: string;
  vm_id: number;
  build_name: string;
  template_name: string;
  template_description: string;
  iso_file: string;
  storage: string;
  bridge: string;
  vlan: string;
  disk_gib: number;
  ssh_user: string;
  ssh_private_key_file: string;
  ssh_host?: string;
  ssh_port?: number;
  user_data_file: string;
  grow_root_file: string;
};

const commands: Record<string, (argv: string[]) => Promise<number>> = {
  version: async () => {
    say('Packer v1.14.0 (stand-in)');
    return 0;
  },
  init: async () => 0,
  validate: async (argv) => {
    readAll(argv);
    say('The configuration is valid. (stand-in)');
    return 0;
  },
  build: async (argv) => {
    const { variables, folder } = readAll(argv);
    await build(variables, folder);
    return 0;
  },
};

async function build(variables: Variables, folder: string): Promise<void> {
  const { node, vm_id, token_id } = variables;
  const secret = process.env.PKR_VAR_token_secret ?? '';
  const api = new Api(variables.endpoint, { authorization: `PVEAPIToken=${token_id}=${secret}` });
  const path = `/nodes/${node}/qemu/${vm_id}`;
  await api.get('/version');
  say('proxmox-iso.ubuntu: Creating VM');
  await api.change('POST', `/nodes/${node}/qemu`, newVm(variables));
  try {
    say('proxmox-iso.ubuntu: Starting VM');
    await api.change('POST', `${path}/status/start`);
    for (const key of ['c', 'ret', 'b', 'o', 'o', 't', 'ret']) await api.change('PUT', `${path}/sendkey`, { key });
    say('proxmox-iso.ubuntu: Waiting for SSH to become available...');
    const address = await agentAddress(api, path);
    say(`proxmox-iso.ubuntu: The guest agent reports ${address}`);
    const guest = {
      host: variables.ssh_host || address,
      port: variables.ssh_port ?? 22,
      username: variables.ssh_user,
      privateKey: readFileSync(variables.ssh_private_key_file),
    };
    const tell = (line: string): void => say(`proxmox-iso.ubuntu: ${line}`);
    await runBySsh(guest, 'cat >/tmp/grow-root.sh', readFileSync(variables.grow_root_file, 'utf8'), tell);
    await runBySsh(guest, 'sudo -n sh -s', readFileSync(join(folder, 'clean.sh'), 'utf8'), tell);
    say('proxmox-iso.ubuntu: Stopping VM, converting it to a template');
    await api.change('POST', `${path}/status/shutdown`, { timeout: 120, forceStop: 1 });
    await api.change('POST', `${path}/template`);
    await api.change('POST', `${path}/config`, {
      name: variables.template_name,
      description: variables.template_description,
      delete: 'ide2',
    });
    say('Build finished. (stand-in)');
  } catch (error) {
    say('proxmox-iso.ubuntu: Cleaning up');
    await api.change('POST', `${path}/status/stop`).catch(() => undefined);
    await api.change('DELETE', path).catch(() => undefined);
    throw error;
  } finally {
    api.close();
  }
}

function newVm(variables: Variables): Record<string, string | number> {
  const { vlan, bridge, storage, disk_gib } = variables;
  return {
    vmid: variables.vm_id,
    name: variables.build_name,
    description: 'Packer ephemeral build VM',
    agent: '1',
    bios: 'ovmf',
    machine: 'q35',
    ostype: 'l26',
    cores: 2,
    cpu: 'host',
    memory: 4096,
    scsihw: 'virtio-scsi-single',
    boot: 'order=scsi0;ide2;net0',
    efidisk0: `${storage}:1,efitype=4m,pre-enrolled-keys=0`,
    scsi0: `${storage}:${disk_gib},discard=on,iothread=1,ssd=1`,
    ide2: `${variables.iso_file},media=cdrom`,
    net0: `model=virtio,bridge=${bridge}${vlan ? `,tag=${vlan}` : ''}`,
  };
}

type Interfaces = { result: { name: string; 'ip-addresses': { 'ip-address': string }[] }[] };

async function agentAddress(api: Api, path: string): Promise<string> {
  for (const end = Date.now() + 45 * 60_000; Date.now() < end; await sleep(200)) {
    const answer = await api.find<Interfaces>(`${path}/agent/network-get-interfaces`);
    const card = answer?.result.find(({ name }) => name !== 'lo');
    const address = card?.['ip-addresses'][0]?.['ip-address'];
    if (address) return address;
  }
  throw new Error('Timeout waiting for SSH.');
}

/** Variables of -var-file, each of which variables.pkr.hcl must know, and the folder of HCL. */
function readAll(argv: string[]): { variables: Variables; folder: string } {
  const { option, words } = parseCommand(argv);
  const [folder = ''] = words;
  const file = option('var-file');
  if (!file || !existsSync(file)) throw new Error(`Could not read variables file ${file}`);
  const variables = JSON.parse(readFileSync(file, 'utf8')) as Variables;
  const hcl = readdirSync(folder)
    .filter((name) => name.endsWith('.pkr.hcl'))
    .map((name) => readFileSync(join(folder, name), 'utf8'))
    .join('\n');
  const declared = new Map(
    [...hcl.matchAll(/^variable "(\w+)" \{([\s\S]*?)^\}/gm)].map(([, name = '', body = '']) => [name, body]),
  );
  for (const name of Object.keys(variables)) if (!declared.has(name)) throw new Error(`Undefined variable ${name}`);
  for (const [name, body] of declared)
    if (!(name in variables) && !/^\s*default\s*=/m.test(body)) throw new Error(`Unset variable "${name}"`);
  for (const path of [variables.user_data_file, variables.grow_root_file])
    if (!existsSync(path)) throw new Error(`no file exists at ${path}`);
  return { variables, folder };
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

await standIn('packer', async ([command = '', ...argv]) => {
  const run = commands[command];
  if (run) return run(argv);
  throw new Error(`"${command}" is not known to the stand-in for packer`);
});
