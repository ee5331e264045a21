import { resolve } from 'node:path';
import { HEALTHCHECK_URL } from '../config/env.ts';
import type { Lab } from '../lab-context.ts';
import type { RunContext } from '../main.ts';
import type { SeenNotify } from '../plan/check-backup.ts';
import type { Readers } from '../ports/types.ts';

/** Whether what backup.notify names is there. Nobody is told anything. */
export async function observeNotify(
  { config, paths }: Lab,
  { exec, files }: Pick<Readers, 'exec' | 'files'>,
  { secrets }: Pick<RunContext, 'secrets'>,
): Promise<SeenNotify> {
  const { start, success, failure } = config.backup?.notify ?? {};
  const names = [start, success, failure].flatMap((argv) => argv?.[0] ?? []);
  const found = await Promise.all(
    names.map(async (name) =>
      name.includes('/') ? files.exists(resolve(paths.root, name)) : exec.which(name) !== undefined,
    ),
  );
  return {
    hasUrl: secrets.get(HEALTHCHECK_URL) !== undefined,
    missing: [...new Set(names.filter((_, i) => !found[i]))],
  };
}
