import type { Config } from '../config/schema.ts';

/** What Packer needs beyond homelab.yaml. Secrets are none of it: they go by the environment. */
export type PkrvarsInput = {
  /** https://HOST:PORT/api2/json */
  endpoint: string;
  vmid: number;
  /** The VM's name while it is built. */
  buildName: string;
  description: string;
  isoFile: string;
  /** Proxmox's type of template.storage: zfspool, dir, … */
  storageType: string;
  privateKeyFile: string;
  userDataFile: string;
  growRootFile: string;
  /** Where the VM is reached, when that is not what its agent reports. */
  ssh?: { host: string; port: number };
};

/** Variables of packer/variables.pkr.hcl, as a .pkrvars.json file. */
export function renderPkrvars({ network, proxmox, template }: Config, input: PkrvarsInput): string {
  const variables: Record<string, string | number> = {
    endpoint: input.endpoint,
    node: template.build_node,
    token_id: proxmox.token_id,
    vm_id: input.vmid,
    build_name: input.buildName,
    template_name: template.name,
    template_description: input.description,
    iso_file: input.isoFile,
    iso_checksum: `sha256:${template.iso.sha256}`,
    iso_storage: template.iso.storage,
    storage: template.storage,
    storage_type: input.storageType,
    bridge: proxmox.bridge,
    vlan: network.vlan === undefined ? '' : String(network.vlan),
    disk_gib: template.disk_gib,
    ssh_user: template.user,
    ssh_private_key_file: input.privateKeyFile,
    user_data_file: input.userDataFile,
    grow_root_file: input.growRootFile,
  };
  if (input.ssh) Object.assign(variables, { ssh_host: input.ssh.host, ssh_port: input.ssh.port });
  return `${JSON.stringify(variables, null, 2)}\n`;
}
