import { openLedger } from '../ledger/ledger.ts';
import type { ConfigProblem } from './load.ts';
import type { Config } from './schema.ts';

/** What several keys of a homelab.yaml must be to each other. Pure; reports everything it finds. */
export function ruleProblems(config: Config): ConfigProblem[] {
  return [...openLedger(config, []).problems];
}
