import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { nasOf } from '../lib/backup/nas.ts';
import { readOneSet, readSets } from '../lib/backup/sets.ts';
import { realFiles } from '../lib/ports/files.ts';
import { makeSet } from './many-sets.ts';

/** What is read of a target with many sets. */
const test = suite('backup sets');
const root = mkdtempSync(join(tmpdir(), 'homelab-test-'));
const sets = join(root, 'main', '7', 'sets');
mkdirSync(sets, { recursive: true });
const names = Array.from({ length: 70 }, (_, i) => makeSet(sets, i));
test.after(() => rmSync(root, { recursive: true, force: true }));
const readers = { 'the NAS': nasOf(realFiles(), 30), 'files of this machine': realFiles() };

for (const [what, files] of Object.entries(readers)) {
  test(`${what}: every set is judged; only the newest fifty carry their manifests`, async () => {
    const found = await readSets(files, root, 'main');
    assert.equal(
      found.map(({ name }) => name),
      names,
    );
    assert.ok(
      found.every(({ state, bytes, databases }) => state === 'proven' && bytes === 6 && databases.length === 5),
    );
    assert.equal(
      found.map(({ manifest }) => manifest !== undefined),
      names.map((_, i) => i < 50),
    );
    assert.ok((await readOneSet(files, root, 'main', '7', names.at(-1) ?? ''))?.manifest);
    assert.is(await readOneSet(files, root, 'main', '7', '../sets'), undefined);
  });

  test(`${what}: an owner's file retires a lineage, and only that one`, async () => {
    mkdirSync(join(root, 'main', '8', 'sets'), { recursive: true });
    makeSet(join(root, 'main', '8', 'sets'), 0);
    writeFileSync(join(root, 'main', '8', 'RETIRED'), '');
    const found = await readSets(files, root, 'main');
    rmSync(join(root, 'main', '8'), { recursive: true });
    const retired = (lineage: string): unknown[] => [
      ...new Set(found.filter((set) => set.lineage === lineage).map((set) => set.retired)),
    ];
    assert.equal([retired('7'), retired('8')], [[undefined], [true]]);
  });

  test(`${what}: the two newest proven ones have theirs, however many that failed are newer`, async () => {
    const failed = names.slice(0, 60).map((name) => join(sets, name, 'verify.json'));
    for (const file of failed) renameSync(file, `${file}.aside`);
    const found = await readSets(files, root, 'main');
    for (const file of failed) renameSync(`${file}.aside`, file);
    const proven = found.filter(({ state }) => state === 'proven');
    assert.equal(
      proven.map(({ name, manifest }) => [name, manifest !== undefined]),
      names.slice(60).map((name, i) => [name, i < 2]),
    );
    assert.is(found[0]?.problem, 'it was never restored');
  });
}
test.run();
