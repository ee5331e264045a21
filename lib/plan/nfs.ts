import type { Lab } from '../lab-context.ts';
import { findExport } from '../lookup.ts';
import { joinPlans, type Note, type Plan, type Step, type WaitsFor } from '../step.ts';
import { nfsClientSteps } from './nfs-client.ts';
import { planStorageClasses } from './nfs-cluster.ts';
import { planExports } from './nfs-exports.ts';
import { reachNotes } from './nfs-reach.ts';
import type { NfsClusterSeen, NfsSeen, PveStorage } from './nfs-seen.ts';
import { stuckNotes } from './nfs-stuck.ts';

/** From the NAS outwards: exports, then who mounts them (Proxmox, K3s nodes, claims). */
export function planNfs(lab: Lab, seen: NfsSeen): Plan {
  const { config } = lab;
  const empty: NfsClusterSeen = { chart: { rolledOut: false }, classes: [], claims: [], pods: [] };
  const exports = planExports(lab, seen);
  return joinPlans(
    { steps: [], notes: reachNotes(config, seen.hosts) },
    exports,
    planStorages(
      config,
      seen.storages,
      exports.steps.map(({ id }) => id),
    ),
    planNodes(
      config.k3s.nodes.map(({ name }) => name),
      seen.hosts,
    ),
    planStorageClasses(config, seen.cluster.ok ? seen.cluster.value : empty, seen.applications),
    { steps: [], notes: stuckNotes(config, seen) },
    seen.cluster.ok
      ? none
      : blocked(`the cluster does not answer: ${seen.cluster.reason}`, 'run install-k3s', 'install-k3s'),
  );
}

const none: Plan = { steps: [], notes: [] };

/** The NFS client on every K3s node: without it no claim can be mounted there. */
function planNodes(nodes: readonly string[], hosts: NfsSeen['hosts']): Plan {
  const steps: Step[] = [];
  const silent: string[] = [];
  for (const host of nodes) {
    const answer = hosts[host] ?? { ok: false, reason: 'not looked at' };
    if (!answer.ok) silent.push(`${host} (${answer.reason})`);
    if (answer.ok && answer.value.client) continue;
    steps.push(...nfsClientSteps(host, answer.ok ? 'nfs-common is not installed' : 'unknown'));
  }
  if (silent.length === 0) return { steps, notes: [] };
  return {
    steps,
    ...blockedNotes(
      `no answer by SSH from ${silent.join(', ')}`,
      'run provision; check says what is wrong',
      'provision',
    ),
  };
}

/** Proxmox storages of homelab.yaml that have an export behind them. */
function planStorages(config: Lab['config'], storages: NfsSeen['storages'], after: string[]): Plan {
  const wanted = config.proxmox.storages.filter((each) => each.export);
  if (wanted.length === 0) return none;
  const steps: Step[] = [];
  const notes: Note[] = [];
  for (const storage of wanted) {
    const { nas, export: found } = findExport(config, storage.export ?? '');
    const content = storage.content.join(',');
    const live = storages.ok ? storages.value.find((each) => each.storage === storage.name) : undefined;
    const change = (
      method: 'POST' | 'PUT',
      title: string,
      why: string,
      path: string,
      params: Record<string, string>,
    ): void => {
      steps.push({
        id: `storage/${storage.name}`,
        title,
        why,
        after,
        action: { kind: 'pve', method, path, params, deadline: 120 },
      });
    };
    if (!live)
      change('POST', `add the Proxmox storage ${storage.name} (${nas.name}:${found.path})`, 'absent', '/storage', {
        storage: storage.name,
        type: 'nfs',
        server: nas.address,
        export: found.path,
        content,
        options: `vers=${nas.nfs_version}`,
      });
    else if (storageProblem(live, nas.address, found.path))
      notes.push({
        level: 'warning',
        text: `the Proxmox storage ${storage.name} ${storageProblem(live, nas.address, found.path)}`,
        fix: 'Proxmox cannot change that: remove it (Datacenter → Storage), and run this again',
      });
    else if (storage.content.some((kind) => !contentOf(live).includes(kind)))
      change(
        'PUT',
        `let the Proxmox storage ${storage.name} hold ${content}`,
        `it holds ${live.content || 'nothing'}`,
        `/storage/${storage.name}`,
        {
          content: [...new Set([...contentOf(live), ...storage.content])].join(','),
        },
      );
  }
  if (storages.ok) return { steps, notes };
  return {
    steps,
    notes: [
      ...notes,
      ...blockedNotes(`the Proxmox API does not answer: ${storages.reason}`, 'check says what is wrong', 'Proxmox')
        .notes,
    ],
  };
}

/** What makes a storage another one than homelab.yaml's; undefined when it is the same. */
export function storageProblem(live: PveStorage, server: string, path: string): string | undefined {
  if (live.type !== 'nfs') return `is of type ${live.type}, not nfs`;
  if (live.server !== server || live.export !== path) return `is ${live.server}:${live.export}, not ${server}:${path}`;
  return undefined;
}

function contentOf({ content }: PveStorage): string[] {
  return (content ?? '').split(',').filter(Boolean);
}

function blocked(text: string, fix: string, waitsFor: WaitsFor): Plan {
  return { steps: [], ...blockedNotes(text, fix, waitsFor) };
}

function blockedNotes(text: string, fix: string, waitsFor: WaitsFor): Pick<Plan, 'notes'> {
  return { notes: [{ level: 'blocker', text, fix, waitsFor }] };
}
