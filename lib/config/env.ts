import { existsSync, readFileSync, statSync } from 'node:fs';
import { parse } from 'dotenv';
import { messageOf, UsageError } from '../errors.ts';
import { Secrets } from '../secret.ts';

export { HEALTHCHECK_URL, postgresPassword } from './secret-names.ts';

/** Settings that may stand in .env (or the environment) and are not secret. */
const SETTINGS = ['HOMELAB_ENDPOINTS', 'HOMELAB_PACKER_DIR'] as const;
export type Settings = Partial<Record<(typeof SETTINGS)[number], string>>;

/**
 * The lab's secrets and settings: .env beside homelab.yaml, over which the process's environment wins.
 * Every variable of .env that is no setting counts as secret. A variable that is set and empty is as if unset.
 * @throws UsageError when .env can be read by others
 */
export function loadEnv(
  file: string,
  environment: NodeJS.ProcessEnv,
  wanted: readonly string[],
): { secrets: Secrets; settings: Settings } {
  return env(parse(readPrivate(file)), environment, wanted);
}

function env(
  fromFile: Record<string, string>,
  environment: NodeJS.ProcessEnv,
  wanted: readonly string[],
): { secrets: Secrets; settings: Settings } {
  const secrets = new Secrets();
  const settings: Settings = {};
  const isSetting = (name: string): name is keyof Settings => (SETTINGS as readonly string[]).includes(name);
  for (const name of new Set([...Object.keys(fromFile), ...wanted, ...SETTINGS])) {
    const value = environment[name] || fromFile[name];
    if (!value) continue;
    if (isSetting(name)) settings[name] = value;
    else secrets.add(name, value);
  }
  return { secrets, settings };
}

/** The same for what must be told though something is wrong, be it .env itself: what cannot be read is not there. */
export function lenientEnv(
  file: string,
  environment: NodeJS.ProcessEnv,
  wanted: readonly string[],
): ReturnType<typeof loadEnv> {
  try {
    return env(parse(readFileSync(file, 'utf8')), environment, wanted);
  } catch {
    return env({}, environment, wanted);
  }
}

/** @throws UsageError that names every secret that is missing */
export function requireSecrets(secrets: Secrets, names: readonly string[], file: string): void {
  const missing = names.filter((name) => !secrets.get(name));
  if (missing.length === 0) return;
  throw new UsageError(missing.map((name) => `${file}: ${name} is missing`).join('\n'), {
    fix: existsSync(file)
      ? `add it to ${file} (.env.example says what each is)`
      : `${file} is not there: copy .env.example, fill it in, chmod 600`,
  });
}

function readPrivate(file: string): string {
  let mode: number;
  try {
    mode = statSync(file).mode & 0o777;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return '';
    throw error;
  }
  if (mode & 0o077)
    throw new UsageError(`${file} holds secrets and can be read by others (mode 0${mode.toString(8)})`, {
      fix: `chmod 600 ${file}`,
    });
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`${file} cannot be read: ${messageOf(error)}`, { fix: 'make it a file that you can read' });
  }
}
