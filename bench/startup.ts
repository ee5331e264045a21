import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { TOOLKIT } from '../lib/paths.ts';
import { best, milliseconds } from './measure.ts';

/** `--help` of every script against a bare hello, run in turns so that both meet the same machine. */
export function startup(rounds = 7): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
  const hello = join(folder, 'hello.ts');
  writeFileSync(hello, "console.log('hello');\n");
  const scripts = readdirSync(join(TOOLKIT, 'scripts')).filter((name) => name !== 'schema.ts');
  try {
    const bare: number[] = [];
    const times = new Map(scripts.map((name) => [name, [] as number[]]));
    for (let round = 0; round < rounds; round++) {
      bare.push(start(hello));
      // check is the one that the aim is about; for the others a few rounds do.
      for (const name of scripts)
        if (round < 5 || name === 'check.ts') times.get(name)?.push(start(join(TOOLKIT, 'scripts', name), '--help'));
    }
    const line = (name: string, values: number[]): string =>
      `  ${name.padEnd(22)} ${milliseconds(best(values))}  ${(best(values) / best(bare)).toFixed(2)} ×`;
    return [line('bare tsx hello', bare), ...[...times].map(([name, values]) => line(`${name} --help`, values))];
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Milliseconds from start to end. */
function start(...argv: string[]): number {
  const began = performance.now();
  const { status, stderr } = spawnSync(process.execPath, ['--import', 'tsx', ...argv], {
    cwd: TOOLKIT,
    encoding: 'utf8',
  });
  if (status !== 0) throw new Error(`${argv.join(' ')} ended with ${status}: ${stderr}`);
  return performance.now() - began;
}
