import type { DriftSeen } from '../observe/drift.ts';
import { marker } from '../render/tfvars.ts';
import type { Finding } from './check.ts';
import { type Drift, driftOf } from './drift.ts';
import { driftText } from './drift-text.ts';

const area = 'drift';

/**
 * In what homelab.yaml, the leases, Terraform's state and Proxmox disagree, a finding each, VM by VM.
 * @returns `explained`: the VMs of which is told why provision has something to do; `byHand`: why it refuses to
 */
export function driftFindings(
  seen: DriftSeen,
  limit: readonly string[],
): { findings: Finding[]; explained: ReadonlySet<string>; byHand: ReadonlySet<string> } {
  const drifts = driftOf({ ...seen, limit: limit.length > 0 ? limit : undefined });
  const pending = drifts.filter((drift) => drift.pending).map(({ vm }) => vm);
  const unread = unreadOnes(seen, limit);
  const lost = namesOnProxmox(seen);
  const findings = [
    ...(seen.proxmox ? [] : [withoutProxmox]),
    ...stateFindings(seen, lost),
    ...(pending.length > 0 ? [neverMade(pending)] : []),
    ...(unread.length > 0 ? [notCompared(unread)] : []),
    ...drifts.filter((drift) => !drift.pending).map(findingOf),
  ];
  const explained = new Set([...drifts.map(({ vm }) => vm), ...unread, ...(seen.state ? [] : lost)]);
  if (findings.length === 0 && seen.state && seen.proxmox)
    findings.push({ area, level: 'ok', text: "homelab.yaml, leases, Terraform's state and Proxmox agree on every VM" });
  const byHand = new Set(drifts.filter((drift) => drift.byHand).map(({ vm }) => vm));
  return { findings, explained, byHand };
}

/** Why it does not answer stands elsewhere. */
const withoutProxmox: Finding = { area, level: 'waiting', text: 'the VMs wait for Proxmox to be compared with it' };

function findingOf(drift: Drift): Finding {
  const { vm, attribute, values, odd, fix, byHand } = drift;
  return {
    area,
    level: byHand ? 'broken' : 'drift',
    text: driftText(drift),
    fix,
    drift: { vm, attribute, values, odd },
  };
}

function neverMade(names: readonly string[]): Finding {
  const text = `${names.join(', ')} ${names.length === 1 ? 'waits' : 'wait'} for provision: never made`;
  return { area, level: 'waiting', text };
}

function notCompared(names: readonly string[]): Finding {
  const text = `${names.join(', ')}: not compared, the configuration on Proxmox cannot be read now`;
  return { area, level: 'waiting', text };
}

/** VMs that Proxmox lists without saying how they are configured. */
function unreadOnes({ config, proxmox = [] }: DriftSeen, limit: readonly string[]): string[] {
  const vmids = new Set(proxmox.filter((vm) => !vm.config).map(({ vmid }) => vmid));
  return config.k3s.nodes
    .filter(({ name, vmid }) => vmids.has(vmid) && (limit.length === 0 || limit.includes(name)))
    .map(({ name }) => name);
}

/** A state that is not there yet is nothing; one that is not there any more is, and so is one that nobody can read. */
function stateFindings({ noState }: DriftSeen, lost: readonly string[]): Finding[] {
  if (!noState) return [];
  const { text, fix, missing } = noState;
  if (!missing) return [{ area, level: 'broken', text, fix }];
  if (lost.length === 0) return [];
  return [
    {
      ...{ area, level: 'drift', fix: 'provision imports them' },
      text: `${text}, and Proxmox has VMs of this lab: ${lost.join(', ')}`,
    },
  ];
}

function namesOnProxmox({ config, proxmox = [] }: DriftSeen): string[] {
  const marks = new Set(proxmox.map(({ description }) => description.trim()));
  return config.k3s.nodes.map(({ name }) => name).filter((name) => marks.has(marker(config.name, name)));
}
