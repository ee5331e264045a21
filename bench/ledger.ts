import { parseConfig } from '../lib/config/load.ts';
import { allocateAll, openLedger } from '../lib/ledger/ledger.ts';
import { emptyLockFile, parseLockFile, renderLockFile } from '../lib/ledger/lockfile.ts';
import { textOf } from './lab.ts';
import { exponent, milliseconds, timed } from './measure.ts';

/** Everything that a run does with the lock file: read it, open the ledger, give one more address, write it. */
export function ledger(): string[] {
  const { config } = parseConfig(textOf(3), 'homelab.yaml');
  const times: [number, number][] = [];
  const lines = [1000, 10_000, 60_000].map((count) => {
    const wanted = Array.from({ length: count }, (_, i) => ({ name: `node-${i}`, role: 'agent' as const }));
    const give = () => allocateAll(openLedger(config, []), wanted, '2026-11-23');
    const text = renderLockFile({ ...emptyLockFile(config.name), leases: give().given });
    const runs = 5;
    const all = timed(runs, () => {
      const lock = parseLockFile(text, 'homelab.lock.yaml', config.name);
      const { given } = allocateAll(
        openLedger(config, lock.leases),
        [{ name: 'one-more', role: 'agent' }],
        '2026-11-23',
      );
      return renderLockFile({ ...lock, leases: [...lock.leases, ...given] });
    });
    times.push([count, all]);
    const others = `give all ${milliseconds(timed(runs, give))}`;
    return `  ${String(count).padStart(6)} leases  read, check, give one, write ${milliseconds(all)}   ${others}`;
  });
  const [, first, last] = times;
  return [...lines, `  grows with the number to the power of ${exponent(first!, last!).toFixed(2)} (1 is linear)`];
}
