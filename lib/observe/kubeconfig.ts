import { homedir } from 'node:os';
import { delimiter, join, resolve } from 'node:path';
import { UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import type { RunContext } from '../main.ts';
import { expandPath } from '../paths.ts';
import { kubeconfigFile } from '../plan/k3s.ts';
import type { KubeconfigArgs, KubeconfigSeen } from '../plan/kubeconfig.ts';
import type { Readers } from '../ports/types.ts';

/** Ours, and the file that it goes into. @throws UsageError in a rehearsal that names none: a person's file is theirs */
export async function observeKubeconfigs(
  lab: Lab,
  { files }: Pick<Readers, 'files'>,
  { into }: KubeconfigArgs,
  { endpoints }: Pick<RunContext, 'endpoints'>,
): Promise<KubeconfigSeen> {
  if (into === undefined && endpoints.rehearsal)
    throw new UsageError('a rehearsal does not touch your kubeconfig', { fix: 'give --into FILE' });
  const file = into === undefined ? usersFile() : expandPath(into, process.cwd());
  const real = (await files.realPath(file)) ?? file;
  const [own, text, mode] = await Promise.all([files.text(kubeconfigFile(lab)), files.text(real), files.mode(real)]);
  return { own, file, real, text, mode };
}

/** As kubectl: the first file of $KUBECONFIG, or ~/.kube/config. */
function usersFile(): string {
  const [first] = (process.env.KUBECONFIG ?? '').split(delimiter).filter(Boolean);
  return first === undefined ? join(homedir(), '.kube', 'config') : resolve(first);
}
