import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { quote } from '../../quote.ts';

export type Tool = 'terraform' | 'packer';

/**
 * Puts executables of that name into a folder, which do what build-template and provision need of the real ones.
 * @param start the command that starts a TypeScript file
 */
export function installTools(binFolder: string, which: readonly Tool[], start = byTsx): void {
  mkdirSync(binFolder, { recursive: true });
  // build-template looks for what Packer makes a CD with; its stand-in makes none.
  if (which.includes('packer')) program(join(binFolder, 'xorriso'), 'exit 1');
  for (const tool of which) {
    const file = fileURLToPath(new URL(`./${tool}.ts`, import.meta.url));
    const argv = start(file).map(quote).join(' ');
    program(join(binFolder, tool), `# A stand-in for ${tool}, for rehearsals.\nexec ${argv} "$@"`);
  }
}

function byTsx(file: string): string[] {
  return [process.execPath, '--import', import.meta.resolve('tsx'), file];
}

function program(file: string, text: string): void {
  writeFileSync(file, `#!/bin/sh\n${text}\n`);
  chmodSync(file, 0o755);
}
