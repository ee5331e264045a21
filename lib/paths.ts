import { homedir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The toolkit's own folder: templates/, terraform/, packer/. */
export const TOOLKIT = resolve(dirname(fileURLToPath(import.meta.url)), '..');

/** The lab of a call that names none. */
export const DEFAULT_CONFIG = 'homelab.yaml';

/** Where a lab's files are. A lab is a folder with a homelab.yaml; everything else follows from it. */
export type LabPaths = {
  config: string;
  /** The folder of homelab.yaml: also homelab.lock.yaml, applications/, docs/NETWORK.md, .env. */
  root: string;
  lock: string;
  env: string;
  applications: string;
  networkDoc: string;
  /** .state/<name>/: journals, generated variables, Terraform state, secrets. Ignored by git. */
  state: string;
  /** Secrets that the scripts made, a file each at 0600. */
  secrets: string;
};

/** @param configFile path of homelab.yaml, which need not exist yet */
export function labPaths(configFile: string, labName: string): LabPaths {
  const config = resolve(configFile);
  const root = dirname(config);
  const state = join(root, '.state', labName);
  return {
    config,
    root,
    lock: join(root, 'homelab.lock.yaml'),
    env: join(root, '.env'),
    applications: join(root, 'applications'),
    networkDoc: join(root, 'docs', 'NETWORK.md'),
    state,
    secrets: join(state, 'secrets'),
  };
}

/** `~/x` as an absolute path; relative paths are relative to `base`. */
export function expandPath(path: string, base: string): string {
  return path.startsWith('~/') ? join(homedir(), path.slice(2)) : resolve(base, path);
}
