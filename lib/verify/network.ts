import { messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { allocation } from '../ledger/allocation.ts';
import { openLedger } from '../ledger/ledger.ts';
import { parseLockFile } from '../ledger/lockfile.ts';
import type { Ports } from '../ports/types.ts';
import type { Proof } from '../step.ts';

/** Reads homelab.lock.yaml again: it can be read, and no two have one address. */
export async function verifyNetwork({ config, paths }: Lab, { files }: Ports): Promise<Proof[]> {
  const claim = 'homelab.lock.yaml agrees with homelab.yaml';
  const text = await files.text(paths.lock);
  if (text === undefined) return [{ claim, ok: true, detail: 'no lease was given yet' }];
  try {
    const ledger = openLedger(config, parseLockFile(text, paths.lock, config.name).leases);
    const problems = ledger.problems.map(({ message }) => message);
    const leases = allocation(config, ledger).flatMap(({ address, name, lease }) =>
      lease ? `${name} ${address}` : [],
    );
    return [{ claim, ok: problems.length === 0, detail: (problems.length > 0 ? problems : leases).join(', ') }];
  } catch (error) {
    return [{ claim, ok: false, detail: messageOf(error) }];
  }
}
