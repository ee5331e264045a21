import { writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import ssh2, { type ServerChannel } from 'ssh2';
import { makeSshKey } from '../lib/lab/ssh-key.ts';
import type { Guest, GuestSpec } from '../lib/lab/types.ts';
import { GROW_ROOT } from '../lib/observe/template.ts';
import { PaperMachines, type TestLab } from './pve-fixture.ts';

/** A guest that takes a key, files by scp, and any command; nothing is run. */
export class Installed extends PaperMachines {
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
          if (/\bscp /.test(command)) sink(channel);
          else finish(channel);
        });
      });
    });
  }

  override async boot(spec: GuestSpec): Promise<Guest> {
    return { ...(await super.boot(spec)), address: '10.20.11.150' };
  }

  /** Where its SSH server listens, on loopback. */
  listen(): Promise<number> {
    return new Promise((resolve) =>
      this.server.listen(0, '127.0.0.1', () => resolve((this.server.address() as AddressInfo).port)),
    );
  }

  close(): Promise<unknown> {
    return new Promise((resolve) => this.server.close(resolve));
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

/** A file of variables as build-template writes it, for a guest that answers at that port. @returns its path */
export function packerVariables(lab: TestLab, port: number, change: Record<string, string | number> = {}): string {
  const key = join(lab.folder, 'key');
  writeFileSync(key, makeSshKey('test').private, { mode: 0o600 });
  const userData = join(lab.folder, 'user-data');
  writeFileSync(userData, '#cloud-config\nautoinstall:\n  version: 1\n');
  lab.pve.addIso({ node: 'pve-01', volid: 'local:iso/ubuntu.iso' });
  const variables = {
    ...{ endpoint: `https://127.0.0.1:${lab.pve.portOf('pve-01')}/api2/json`, node: 'pve-01', vm_id: 9000 },
    ...{
      token_id: 'homelab@pve!toolkit',
      build_name: 'template-build.homelab',
      template_name: 'ubuntu-24.04',
      template_description: 'built from abc',
    },
    ...{ iso_file: 'local:iso/ubuntu.iso', iso_checksum: `sha256:${'0'.repeat(64)}`, iso_storage: 'local' },
    ...{ storage: 'local-zfs', storage_type: 'zfspool', bridge: 'vmbr0', vlan: '11', disk_gib: 20 },
    ...{ ssh_user: 'ops', ssh_private_key_file: key, user_data_file: userData, grow_root_file: GROW_ROOT },
    ...{ ssh_host: '127.0.0.1', ssh_port: port, ...change },
  };
  const file = join(lab.folder, 'template.pkrvars.json');
  writeFileSync(file, JSON.stringify(variables));
  return file;
}
