import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse, stringify } from 'yaml';
import { parseConfig } from '../lib/config/load.ts';
import type { Config } from '../lib/config/schema.ts';
import type { Lab } from '../lib/lab-context.ts';
import { allocateAll, openLedger } from '../lib/ledger/ledger.ts';
import { emptyLockFile } from '../lib/ledger/lockfile.ts';
import { labPaths, TOOLKIT } from '../lib/paths.ts';

/** The text of the committed homelab.yaml with `count` K3s nodes in a /16: three servers, agents on a tenth as many hosts. */
export function textOf(count: number): string {
  const raw = parse(readFileSync(join(TOOLKIT, 'homelab.yaml'), 'utf8')) as Config;
  const hosts = Math.max(3, Math.ceil(count / 10));
  raw.network = {
    ...raw.network,
    ...{ subnet: '10.20.0.0/16', gateway: '10.20.0.1', dns: ['10.20.0.1'], hosts: [] },
    ranges: { server: '10.20.2.0-10.20.2.9', agent: '10.20.16.0-10.20.254.255' },
  };
  raw.metallb.pool = '10.20.3.0-10.20.3.255';
  const [first, ...others] = raw.proxmox.nodes;
  const more = Array.from({ length: hosts }, (_, i) => ({ name: `pve-${100 + i}`, address: `10.20.1.${i}`, gpus: [] }));
  raw.proxmox.nodes = [first!, ...others, ...more]
    .slice(0, hosts)
    .map((node, i) => ({ ...node, address: `10.20.1.${i}` }));
  for (const [i, nas] of raw.nas.entries()) nas.address = `10.20.4.${i}`;
  const [server, , agent] = raw.k3s.nodes;
  raw.k3s.nodes = Array.from({ length: count }, (_, i) => {
    const node = raw.proxmox.nodes[i % hosts]!.name;
    if (i < 3) return { ...server!, name: `k3s-cp-0${i + 1}`, node, vmid: 20_000 + i };
    return { ...agent!, name: `k3s-agent-${i}`, node, vmid: 20_000 + i, gpu: undefined };
  });
  return stringify(raw, { aliasDuplicateObjects: false });
}

/** Everything that happens before reality is looked at: parse, check, lease. */
export function labOf(text: string): Lab {
  const { config } = parseConfig(text, 'homelab.yaml');
  const { ledger, given } = allocateAll(openLedger(config, []), config.k3s.nodes, '2026-11-23');
  const lock = emptyLockFile(config.name);
  return {
    config,
    paths: labPaths('/lab/homelab.yaml', config.name),
    lock,
    ledger,
    newLeases: given,
    today: '2026-11-23',
  };
}

/** The committed homelab.yaml with `count` small VMs, spread evenly over its three Proxmox nodes. */
export function evenly(count: number): string {
  const raw = parse(readFileSync(join(TOOLKIT, 'homelab.yaml'), 'utf8')) as Config;
  raw.network.ranges = { server: '10.20.11.80-10.20.11.84', agent: '10.20.11.100-10.20.11.199' };
  const [server, , agent] = raw.k3s.nodes;
  raw.k3s.nodes = Array.from({ length: count }, (_, i) => ({
    ...(i < 3 ? { ...server!, name: `k3s-cp-0${i + 1}` } : { ...agent!, name: `k3s-agent-${i}`, gpu: undefined }),
    ...{ node: raw.proxmox.nodes[i % 3]!.name, vmid: 200 + i, memory_gib: 2, disk_gib: 50 },
  }));
  return stringify(raw, { aliasDuplicateObjects: false });
}
