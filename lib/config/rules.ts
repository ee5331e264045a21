import { openLedger } from '../ledger/ledger.ts';
import type { ConfigProblem } from './load.ts';
import { k3sProblems } from './rules/k3s.ts';
import { machineProblems } from './rules/machines.ts';
import { nameProblems } from './rules/names.ts';
import { referenceProblems } from './rules/references.ts';
import { storageProblems } from './rules/storage.ts';
import type { Config } from './schema.ts';

/** What several keys of a homelab.yaml must be to each other. Pure; reports everything it finds. */
export function ruleProblems(config: Config): ConfigProblem[] {
  return [
    ...openLedger(config, []).problems,
    ...nameProblems(config),
    ...referenceProblems(config),
    ...machineProblems(config),
    ...storageProblems(config),
    ...k3sProblems(config),
  ];
}
