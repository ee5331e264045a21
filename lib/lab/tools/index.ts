import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { quote } from '../../quote.ts';

export type Tool = 'terraform' | 'packer';

/** Puts executables of that name into a folder, which do what build-template and provision need of the real ones. */
export function installTools(binFolder: string, which: readonly Tool[]): void {
  mkdirSync(binFolder, { recursive: true });
  for (const tool of which) {
    const program = fileURLToPath(new URL(`./${tool}.ts`, import.meta.url));
    const argv = [process.execPath, '--import', import.meta.resolve('tsx'), program].map(quote).join(' ');
    const file = join(binFolder, tool);
    writeFileSync(file, `#!/bin/sh\n# A stand-in for ${tool}, for rehearsals.\nexec ${argv} "$@"\n`);
    chmodSync(file, 0o755);
  }
}
