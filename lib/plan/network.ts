import { UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { type Ledger, openLedger } from '../ledger/ledger.ts';
import { type LockFile, renderLockFile } from '../ledger/lockfile.ts';
import { networkDoc } from '../render/network-doc.ts';
import type { Note, Plan, Step } from '../step.ts';
import { suggestion } from '../suggest.ts';

/** The files that `network` writes, as they are; undefined for one that is not there. */
export type NetworkSeen = { lock?: string; doc?: string };

/** Gives an address to every node of homelab.yaml that has none, or to `name` only. */
export function planAllocate(lab: Lab, seen: NetworkSeen, name?: string): Plan {
  if (name !== undefined) known(name, lab.config.k3s.nodes, 'K3s node of homelab.yaml');
  const given = lab.newLeases.filter((lease) => name === undefined || lease.name === name);
  const why = given.map((lease) => `${lease.name} gets ${lease.address}`).join(', ');
  const lock = { ...lab.lock, leases: [...lab.lock.leases, ...given] };
  return { steps: write(lab, lock, seen, why), notes: contradictions(lab, 'blocker') };
}

/** Takes the address of `name` back. One that a node of homelab.yaml uses only when `force`d. */
export function planRelease(lab: Lab, seen: NetworkSeen, name: string, force: boolean): Plan {
  known(name, lab.lock.leases, 'lease in homelab.lock.yaml');
  const leases = lab.lock.leases.filter((lease) => lease.name === name);
  const lock = { ...lab.lock, leases: lab.lock.leases.filter((lease) => lease.name !== name) };
  const [lockStep, ...others] = write(lab, lock, seen, `${name} gives it back`);
  const lost = leases.map((lease) => `${lease.address} of ${name}: the next node may get it`);
  const steps = lockStep ? [{ ...lockStep, destroys: lost }, ...others] : [];
  const used = lab.config.k3s.nodes.find((node) => node.name === name);
  if (!used || force) return { steps, notes: [] };
  const text = `${name} is a K3s node of homelab.yaml, and its machine would go on using the address`;
  return { steps, notes: [{ level: 'blocker', text, fix: `take ${name} out of homelab.yaml first, or give --force` }] };
}

/** Writes docs/NETWORK.md when it does not say what homelab.yaml and homelab.lock.yaml do. */
export function planDoc(lab: Lab, seen: NetworkSeen): Plan {
  return { steps: writeDoc(lab, lab.lock, seen), notes: contradictions(lab, 'blocker') };
}

/** Nothing to do; contradictions are told. */
export function planList(lab: Lab): Plan {
  return { steps: [], notes: contradictions(lab, 'warning') };
}

/** The ledger of what is recorded, without proposals. */
export function recorded(lab: Lab, lock: LockFile = lab.lock): Ledger {
  return openLedger(lab.config, lock.leases);
}

/** homelab.lock.yaml where it changes, then docs/NETWORK.md where that does. */
function write(lab: Lab, lock: LockFile, seen: NetworkSeen, why: string): Step[] {
  const content = renderLockFile(lock);
  const nothing = seen.lock === undefined && lock.leases.length === 0;
  if (seen.lock === content || nothing) return writeDoc(lab, lock, seen);
  const step: Step = {
    id: 'lock',
    title: 'write homelab.lock.yaml',
    why: why || 'it is not in the form in which it is written',
    action: { kind: 'write', path: lab.paths.lock, content },
  };
  return [step, ...writeDoc(lab, lock, seen).map((doc) => ({ ...doc, after: [step.id] }))];
}

function writeDoc(lab: Lab, lock: LockFile, seen: NetworkSeen): Step[] {
  const content = networkDoc(lab.config, recorded(lab, lock));
  if (seen.doc === content) return [];
  return [
    {
      id: 'doc',
      title: 'write docs/NETWORK.md',
      why: seen.doc === undefined ? 'absent' : 'it says something else than homelab.yaml and homelab.lock.yaml',
      action: { kind: 'write', path: lab.paths.networkDoc, content },
    },
  ];
}

function contradictions(lab: Lab, level: Note['level']): Note[] {
  return (lab.leaseProblems ?? []).map((text) => ({ level, text }));
}

function known(name: string, list: readonly { name: string }[], what: string): void {
  if (list.some((one) => one.name === name)) return;
  const names = list.map((one) => one.name);
  throw new UsageError(`there is no ${what} "${name}"`, { fix: suggestion(name, names) });
}
