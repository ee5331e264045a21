import { strict as assert } from 'node:assert';
import { type FaultLab, type Ran, says } from './provision-faults.ts';

export type Case = {
  name: string;
  /** What goes wrong; before the run, or as soon as it has begun the step `at`. */
  fault: (lab: FaultLab) => unknown;
  at?: string;
  args?: readonly string[];
  preload?: string;
  code?: number;
  /** What it must say: what, where, what to do. */
  says: readonly RegExp[];
  /** What else must hold while the fault lasts. */
  also?: (lab: FaultLab, ran: Ran) => unknown;
  /** What an owner does about it, where it is more than waiting. */
  clear?: (lab: FaultLab) => unknown;
  /** What must hold of the run after that. */
  next?: (lab: FaultLab, ran: Ran) => unknown;
};

/** Declares a test for each case; HOMELAB_FAULT=words picks those with these words in their names. */
export function declare(
  test: (name: string, run: () => Promise<void>) => void,
  cases: readonly Case[],
  lab: () => FaultLab,
): void {
  const words = process.env.HOMELAB_FAULT ?? '';
  for (const one of cases) if (one.name.includes(words)) test(one.name, () => survives(lab(), one));
}

/** A run meets the fault, names it, and loses nothing; when it is over, a run comes to the end, and the next has nothing to do. */
async function survives(lab: FaultLab, one: Case): Promise<void> {
  await lab.reset();
  if (!one.at) await one.fault(lab);
  const run = lab.start(['--verbose', ...(one.args ?? [])], one.preload);
  if (one.at) {
    await run.said(new RegExp(`… ${one.at}`));
    await one.fault(lab);
  }
  const ran = await run.ended;
  assert.equal(ran.code, one.code ?? 1, ran.text);
  assert.ok(!ran.text.includes('defect:'), ran.text);
  for (const pattern of one.says) says(ran, pattern);
  await one.also?.(lab, ran);
  lab.pve.faults.clear();
  await one.clear?.(lab);
  const again = await lab.converges();
  await one.next?.(lab, again);
}
