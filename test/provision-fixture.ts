import { join } from 'node:path';
import { loadConfig } from '../lib/config/load.ts';
import type { Config } from '../lib/config/schema.ts';
import type { Lab } from '../lib/lab-context.ts';
import { allocateAll, openLedger } from '../lib/ledger/ledger.ts';
import { emptyLockFile, type Lease } from '../lib/ledger/lockfile.ts';
import type { TemplateSeen, TemplateSources } from '../lib/observe/template.ts';
import type { StorageSeen, VmSeen } from '../lib/observe/vms.ts';
import { labPaths, TOOLKIT } from '../lib/paths.ts';
import type { Answer } from '../lib/ports/types.ts';

export const GIB = 1024 ** 3;

/** homelab.yaml as it is committed, with what a test changes, as a lab with or without leases. */
export function labOf({ change, leased = false }: { change?: (config: Config) => void; leased?: boolean } = {}): Lab {
  const { config } = loadConfig(join(TOOLKIT, 'homelab.yaml'));
  change?.(config);
  const { ledger, given } = allocateAll(openLedger(config, []), config.k3s.nodes, '2026-01-01');
  const leases: Lease[] = leased ? given : [];
  return {
    config,
    paths: labPaths('/lab/homelab.yaml', config.name),
    lock: { ...emptyLockFile(config.name), leases },
    ledger,
    newLeases: leased ? [] : given,
    today: '2026-01-01',
  };
}

export const sources: TemplateSources = {
  publicKey: 'ssh-ed25519 AAAA ops@lab\n',
  publicKeyFile: '/keys/id_ed25519.pub',
  privateKeyFile: '/keys/id_ed25519',
  userData:
    '#cloud-config\nautoinstall:\n  timezone: ""\n  user-data:\n    hostname: ""\n    users:\n      - name: ""\n        ssh_authorized_keys: []\n',
  growRoot: '#!/bin/sh\ntrue\n',
  growRootFile: '/toolkit/templates/grow-root.sh',
  hclFolder: '/toolkit/packer',
  hcl: { 'ubuntu.pkr.hcl': 'source {}', 'clean.sh': 'true' },
};

export function storagesOf(
  lab: Lab,
  change: (name: string) => Partial<StorageSeen> = () => ({}),
): TemplateSeen['storages'] {
  const all = (): Answer<StorageSeen[]> => ({
    ok: true,
    value: lab.config.proxmox.storages.map(({ name, content, shared }) => ({
      ...{ name, content, shared, type: name === 'local-zfs' ? 'zfspool' : 'dir', active: true },
      ...{ availableBytes: 1000 * GIB, ...change(name) },
    })),
  });
  return Object.fromEntries(lab.config.proxmox.nodes.map(({ name }) => [name, all()]));
}

export function vm(seen: Partial<VmSeen> & Pick<VmSeen, 'vmid' | 'node'>): VmSeen {
  return { name: `vm-${seen.vmid}`, kind: 'qemu', template: false, running: false, description: '', ...seen };
}
