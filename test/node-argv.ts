import { existsSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TOOLKIT } from '../lib/paths.ts';

/** Where test/run.ts has compiled everything; unset where a test file is run by itself. */
export const COMPILED = 'HOMELAB_TEST_COMPILED';
/** Node's flag with which stacks name lines of the sources. */
export const SOURCE_MAPS = '--enable-source-maps';

/**
 * The command that starts a TypeScript file of the toolkit: as it was compiled for this run of the tests, or with tsx.
 * @param file its path, from the toolkit's folder
 * @param preloads modules that are loaded before it: paths, or file: URLs
 */
export function nodeArgv(file: string, ...preloads: string[]): string[] {
  const before = preloads.map((one) => resolve(TOOLKIT, one.startsWith('file:') ? fileURLToPath(one) : one));
  const own = resolve(TOOLKIT, file);
  const folder = process.env[COMPILED];
  if (folder && [...before, own].every((one) => existsSync(compiledFile(one, folder)))) {
    const imports = before.flatMap((one) => ['--import', compiledFile(one, folder)]);
    return [process.execPath, ...imports, compiledFile(own, folder)];
  }
  return [process.execPath, ...['tsx', ...before].flatMap((one) => ['--import', one]), own];
}

/** Where `file` is in the folder of what was compiled. */
export function compiledFile(file: string, folder: string): string {
  return join(folder, relative(TOOLKIT, file).replace(/\.ts$/, '.mjs'));
}
