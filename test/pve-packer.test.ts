import { strict as assert } from 'node:assert';
import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import ssh2, { type ServerChannel } from 'ssh2';
import { suite } from 'uvu';
import { makeSshKey } from '../lib/lab/ssh-key.ts';
import type { Guest, GuestSpec } from '../lib/lab/types.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { gate, PASSWORD, PaperMachines, testLab } from './pve-fixture.ts';

const exec = realExec();
const { code, stdout } = await exec.run(['packer', 'version'], { deadline: 30 });
const missing =
  code === 0 && /v1\.6\./.test(stdout) ? undefined : 'packer 1.6, with its built-in Proxmox builder, is not on PATH';
const test = suite("Debian's Packer against the emulator");

/** A guest that takes a key, files by scp, and any command; nothing is run. */
class Installed extends PaperMachines {
  readonly commands: string[] = [];
  readonly server: ssh2.Server;

  constructor() {
    super();
    const hostKey = makeSshKey('test').private;
    this.server = new ssh2.Server({ hostKeys: [hostKey] }, (client) => {
      client.on('authentication', (auth) =>
        auth.method === 'publickey' && auth.username === 'ops' ? auth.accept() : auth.reject(['publickey']),
      );
      client.on('error', () => undefined);
      client.on('session', (accept) => {
        accept().on('exec', (acceptExec, _reject, { command }) => {
          this.commands.push(command);
          const channel = acceptExec();
          if (command.startsWith('scp ')) sink(channel);
          else finish(channel);
        });
      });
    });
  }

  override async boot(spec: GuestSpec): Promise<Guest> {
    return { ...(await super.boot(spec)), address: '10.20.11.150' };
  }
}

/** The receiving end of scp: acknowledges each line and each file. */
function sink(channel: ServerChannel): void {
  let file = 0;
  channel.write('\0');
  channel.on('data', (chunk: Buffer) => {
    if (file > 0) {
      file -= chunk.length;
      if (file <= 0) channel.write('\0');
      return;
    }
    file = Number(/^C\d+ (\d+)/.exec(chunk.toString())?.[1] ?? 0);
    if (file > 0) file += 1;
    channel.write('\0');
  });
  channel.on('end', () => finish(channel));
}

function finish(channel: ServerChannel): void {
  channel.exit(0);
  channel.end();
}

gate(
  test,
  'packer',
  missing,
)('builds a template', async () => {
  const machines = new Installed();
  const port = await new Promise<number>((resolve) =>
    machines.server.listen(0, '127.0.0.1', () => resolve((machines.server.address() as AddressInfo).port)),
  );
  const lab = await testLab({ machines });
  try {
    const api = `https://127.0.0.1:${lab.pve.portOf('pve-01')}/api2/json`;
    const key = join(lab.folder, 'key');
    writeFileSync(key, makeSshKey('test').private, { mode: 0o600 });
    lab.pve.addIso({ node: 'pve-01', volid: 'local:iso/ubuntu.iso' });
    const variables = join(lab.folder, 'template.pkrvars.json');
    writeFileSync(
      variables,
      JSON.stringify({
        ...{ endpoint: api, node: 'pve-01', token_id: 'unused', vm_id: 9000, template_name: 'ubuntu-24.04' },
        ...{ template_description: 'built from abc', iso_file: 'local:iso/ubuntu.iso', iso_checksum: 'unused' },
        ...{ iso_storage: 'local', storage: 'local-zfs', storage_type: 'zfspool', bridge: 'vmbr0', vlan: '11' },
        ...{ disk_gib: 20, ssh_user: 'ops', ssh_private_key_file: key, user_data_file: 'unused' },
        ...{ ssh_host: '127.0.0.1', ssh_port: port },
      }),
    );
    const outcome = await exec.run(
      ['packer', 'build', '-color=false', `-var-file=${variables}`, join(TOOLKIT, 'lib/lab/packer-1.6')],
      {
        deadline: 120,
        cwd: lab.folder,
        env: {
          SSL_CERT_FILE: lab.caFile,
          CHECKPOINT_DISABLE: '1',
          PACKER_CACHE_DIR: join(lab.folder, 'cache'),
          PACKER_CONFIG_DIR: lab.folder,
          PKR_VAR_username: 'root@pam',
          PKR_VAR_password: PASSWORD,
        },
      },
    );
    assert.equal(outcome.code, 0, outcome.stdout + outcome.stderr);
    const { vms, volumes, locks } = lab.pve.snapshot();
    assert.equal(vms.length, 1);
    const [vm] = vms;
    assert.deepEqual([vm?.vmid, vm?.status, vm?.config.template], [9000, 'stopped', 1]);
    assert.deepEqual([vm?.config.name, vm?.config.description], ['ubuntu-24.04', 'built from abc']);
    assert.match(String(vm?.config.scsi0), /^local-zfs:base-9000-disk-0,.*size=20G/);
    assert.match(String(vm?.config.ide2), /^none,media=cdrom/);
    assert.ok(volumes.find(({ volid }) => volid === 'local-zfs:base-9000-disk-0')?.installed);
    assert.deepEqual(locks, []);
    assert.ok(machines.commands.some((command) => command.startsWith('scp ')));
    assert.ok(machines.commands.some((command) => command.includes('sudo -n sh')));
    assert.equal(machines.booted[0]?.cloudInit, false);
    assert.deepEqual(machines.stopped, [9000]);
    assert.deepEqual(lab.pve.problems, []);
  } finally {
    await lab.close();
    await new Promise((resolve) => machines.server.close(resolve));
  }
});

test.run();
