import { randomBytes } from 'node:crypto';
import type { Lab } from '../lab-context.ts';
import type { RunContext } from '../main.ts';
import type { RestoreArgs, SeenRestore } from '../plan/restore.ts';
import type { Readers } from '../ports/types.ts';
import { observeBackup } from './backup.ts';

/** The target with its sets, and the server into which something is restored. */
export async function observeRestore(
  lab: Lab,
  readers: Pick<Readers, 'files' | 'clock' | 'exec' | 'kube' | 'ssh'>,
  { server }: RestoreArgs,
  context: Pick<RunContext, 'endpoints' | 'secrets'>,
): Promise<SeenRestore> {
  const seen = await observeBackup(lab, readers, { server: [server] }, context);
  return { ...seen, runId: randomBytes(4).toString('hex') };
}
