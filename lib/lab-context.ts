import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { loadEnv, type Settings } from './config/env.ts';
import { loadConfig } from './config/load.ts';
import type { Config } from './config/schema.ts';
import { messageOf, UsageError } from './errors.ts';
import { allocateAll, type Ledger, openLedger } from './ledger/ledger.ts';
import { emptyLockFile, type Lease, type LockFile, parseLockFile } from './ledger/lockfile.ts';
import { withDatabaseAddresses } from './lookup.ts';
import { type LabPaths, labPaths } from './paths.ts';
import type { Secrets } from './secret.ts';

/** What a script knows before it looks at anything: the checked configuration, the leases, the paths. */
export type Lab = {
  config: Config;
  paths: LabPaths;
  /** homelab.lock.yaml as it is. */
  lock: LockFile;
  /** The ledger with a lease for every node; those in `newLeases` are proposals until homelab.lock.yaml has them. */
  ledger: Ledger;
  newLeases: Lease[];
  /** Leases that contradict homelab.yaml, a line each. Empty but for scripts that mend them. */
  leaseProblems?: string[];
  /** Today, UTC, YYYY-MM-DD. */
  today: string;
};

export type Opened = {
  lab: Lab;
  secrets: Secrets;
  settings: Settings;
  warnings: string[];
  /** Whether leases and generated secrets are still as they were read: another run may have ended since. */
  isCurrent: () => boolean;
};

/**
 * Reads homelab.yaml, homelab.lock.yaml and .env.
 * @param secretNames names of secrets that may come from the environment instead of .env
 * @param mendsLeases leases that contradict homelab.yaml are no error, but told in `leaseProblems`
 * @throws UsageError with all problems
 */
export function openLab(
  configFile: string,
  environment: NodeJS.ProcessEnv,
  secretNames: (config: Config) => readonly string[] = () => [],
  mendsLeases = false,
): Opened {
  const { config, warnings, place } = loadConfig(configFile);
  const paths = labPaths(configFile, config.name);
  const { secrets, settings } = loadEnv(paths.env, environment, secretNames(config));
  const made = stateSecrets(paths.secrets);
  for (const [name, value] of made) secrets.add(name, value);
  const today = new Date().toISOString().slice(0, 10);
  const lockText = readLockFile(paths.lock);
  const lock = lockText === undefined ? emptyLockFile(config.name) : parseLockFile(lockText, paths.lock, config.name);
  const opened = openLedger(config, lock.leases);
  const { ledger, given, problems } = allocateAll(opened, config.k3s.nodes, today);
  const leaseProblems = [...opened.problems, ...problems].map((problem) =>
    problem.path ? place(problem) : `${problem.message}; ${problem.fix}`,
  );
  if (leaseProblems.length > 0 && !mendsLeases) throw new UsageError(leaseProblems.join('\n'));
  return {
    lab: {
      config: withDatabaseAddresses({ config, ledger }),
      paths,
      lock,
      ledger,
      newLeases: given,
      leaseProblems,
      today,
    },
    secrets,
    settings,
    warnings,
    isCurrent: () =>
      readLockFile(paths.lock) === lockText && JSON.stringify(stateSecrets(paths.secrets)) === JSON.stringify(made),
  };
}

/** Undefined only where there is none: leases that cannot be read must not be given again. */
function readLockFile(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new UsageError(`${file} cannot be read: ${messageOf(error)}`, {
      fix: 'it holds the leases of addresses; take it from git again',
    });
  }
}

/** Secrets that `secret` steps made in earlier runs: name and value. */
function stateSecrets(folder: string): [string, string][] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => !name.startsWith('.'))
    .sort()
    .map((name) => [name, readFileSync(join(folder, name), 'utf8').trim()]);
}
