import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { nasOf } from '../lib/backup/nas.ts';
import { readSets } from '../lib/backup/sets.ts';
import { expendable } from '../lib/plan/retention.ts';
import { realFiles } from '../lib/ports/files.ts';
import { makeSet } from '../test/many-sets.ts';
import { milliseconds } from './measure.ts';

/**
 * What `list`, the look before a run and retention read of many sets, each of 5 databases with 20 tables.
 * @returns milliseconds, and how much larger the heap is for it
 */
async function readManySets(count: number): Promise<{ read: number; retention: number; heapMiB: number }> {
  const root = mkdtempSync(join(tmpdir(), 'homelab-'));
  try {
    const sets = join(root, 'main', '7', 'sets');
    mkdirSync(sets, { recursive: true });
    for (let i = 0; i < count; i++) makeSet(sets, i);
    const nas = nasOf(realFiles(), 30);
    await nas.list(root);
    globalThis.gc?.();
    const before = process.memoryUsage().heapUsed;
    const began = performance.now();
    const found = await readSets(nas, root, 'main');
    const read = performance.now() - began;
    globalThis.gc?.();
    const heapMiB = (process.memoryUsage().heapUsed - before) / 2 ** 20;
    const plain = found.map((set) => ({ ...set, proven: set.state === 'proven' }));
    if (plain.filter(({ proven }) => proven).length !== count) throw new Error('not every set was read as proven');
    const then = performance.now();
    expendable(plain, { last: 3, daily: 7, weekly: 5, monthly: 12 }, Date.now(), 10);
    return { read, retention: performance.now() - then, heapMiB };
  } finally {
    rmSync(root, { recursive: true, force: true });
  }
}

export async function sets(count = 10_000): Promise<string[]> {
  const { read, retention, heapMiB } = await readManySets(count);
  return [
    `  ${String(count).padEnd(8)} read and judged ${milliseconds(read)}  retention ${milliseconds(retention)}  heap +${heapMiB.toFixed(0)} MiB`,
  ];
}
