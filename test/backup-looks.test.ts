import { readdirSync, readFileSync, renameSync, truncateSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { postgresHere } from './backup-harness.ts';
import { type Raw, type ScriptLab, scriptLab } from './backup-script.ts';

/** The commands that look at the target, through the real script: exit codes, and what they say. */
const test = suite('backup-postgres: status, list, verify, prune');
const here = await postgresHere();
const one: ScriptLab | undefined = here ? await scriptLab() : undefined;
test.after(() => one?.close());
const real = (name: string, body: (lab: ScriptLab) => Promise<void>): void => {
  if (one) test(name, () => body(one));
};

real('status: 3 where there never was a set', async (lab) => {
  const { code, stdout } = await lab.script(['status']);
  assert.equal([code, stdout], [3, 'main: STALE: there is no proven set; 0 sets\n']);
});
real('one set is made', async (lab) => {
  await lab.pg.seed(['app']);
  const { code, stderr } = await lab.script(['run', '--yes']);
  assert.is(code, 0, stderr);
});

/** What is asked of the target only, with a database that is down. */
const down = (raw: Raw): void => {
  raw.backup.postgresql[0].port = 1;
};
const newest = ({ root }: ScriptLab): string => {
  const lineage = join(root, 'main', readdirSync(join(root, 'main'))[0] ?? '');
  return join(lineage, 'sets', readdirSync(join(lineage, 'sets')).sort().at(-1) ?? '');
};

real('status: 0 from outside, with the database down; --quiet says nothing', async (lab) => {
  lab.configure(down);
  const { code, stdout } = await lab.script(['status']);
  assert.equal([code, stdout.split(':').slice(0, 2)], [0, ['main', ' fresh']]);
  assert.equal(await lab.script(['status', '--quiet']), { code: 0, stdout: '', stderr: '' });
});
real('status: 3 when the newest proven set is too old, or damaged, or half gone; --quiet says so', async (lab) => {
  const file = (name: string): string => join(newest(lab), name);
  for (const [name, said] of [
    ['verify.json', /it was never restored/],
    ['manifest.json', /manifest\.json is missing/],
    ['globals.sql', /globals\.sql is missing/],
  ] as const) {
    renameSync(file(name), join(lab.folder, name));
    const { code, stdout } = await lab.script(['status', '--quiet']);
    renameSync(join(lab.folder, name), file(name));
    assert.is(code, 3, name);
    assert.match(stdout, /^main: STALE: there is no proven set; 1 set\n/);
    assert.match(stdout.replaceAll(/\s+/g, ' '), said);
  }
  // What a NAS leaves that lost its power before it had written.
  const dump = readFileSync(file('app.dump'));
  truncateSync(file('app.dump'), 0);
  const cut = await lab.script(['status', '--quiet']);
  writeFileSync(file('app.dump'), dump);
  assert.is(cut.code, 3);
  assert.match(cut.stdout.replaceAll(/\s+/g, ' '), /app\.dump has 0 bytes instead of \d+/);
  const { code, stdout } = await lab.script(['status', '--json'], {
    preload: new URL('./fixtures/later.ts', import.meta.url).href,
  });
  assert.is(code, 3);
  assert.equal(JSON.parse(stdout).report[0].remarks, ['older than 26 h']);
});
real('status, list, verify, prune: 1 where the target is not there; 2 for a server that is none', async (lab) => {
  renameSync(lab.nas, `${lab.nas}.away`);
  for (const command of ['status', 'list', 'verify', 'prune']) {
    const { code, stderr } = await lab.script([command]);
    assert.is(code, 1, command);
    assert.match(stderr, /\/nas is not there; make it and mount/);
  }
  renameSync(`${lab.nas}.away`, lab.nas);
  const { code, stderr } = await lab.script(['status', '--server', 'x']);
  assert.equal([code, /no such server/.test(stderr)], [2, true]);
});
real(
  'verify: 1 for a set that is not there, truncated, flipped or of another server; and it counts no more',
  async (lab) => {
    const missing = await lab.script(['verify', '20200101T000000Z-00000000', '--yes']);
    assert.is(missing.code, 1);
    const said = /^blocker: there is no set 20200101T000000Z-00000000; backup-postgres list says which there are$/m;
    assert.match(missing.stderr, said);
    const folder = newest(lab);
    const kept = new Map(readdirSync(folder).map((name) => [name, readFileSync(join(folder, name))]));
    const flipped = (bytes: Buffer): Buffer => {
      const copy = Buffer.from(bytes);
      copy[copy.length >> 1] = (copy[copy.length >> 1] ?? 0) ^ 1;
      return copy;
    };
    for (const [name, change, said] of [
      ['app.dump', (bytes) => bytes.subarray(0, -10), /app\.dump.*\d+ bytes|app\.dump.*SHA-256/],
      ['app.dump', flipped, /app\.dump.*SHA-256/],
      [
        'manifest.json',
        (bytes) => Buffer.from(bytes.toString().replace('"server": "main"', '"server": "other"')),
        /SHA256SUMS does not fit the manifest/,
      ],
    ] as [string, (bytes: Buffer) => Buffer, RegExp][]) {
      writeFileSync(join(folder, name), change(kept.get(name) ?? Buffer.alloc(0)));
      const { code, stderr } = await lab.script(['verify', '--yes']);
      assert.is(code, 1, stderr);
      assert.match(stderr, said);
      assert.match(stderr, /to fix: it does not count any more; take a new one/);
      assert.is((await lab.script(['status'])).code, 3);
      for (const [file, bytes] of kept) writeFileSync(join(folder, file), bytes);
    }
  },
);
real('prune: 2 where it would delete and nobody has confirmed that; 0 when somebody has', async (lab) => {
  lab.configure();
  assert.is((await lab.script(['run', '--yes'])).code, 0);
  const kept = newest(lab);
  lab.configure((raw) => {
    raw.backup.keep.last = 1;
  });
  const before = lab.target();
  const { code, stderr } = await lab.script(['prune', '--yes']);
  assert.is(code, 2, stderr);
  assert.match(stderr, /this destroys, and was not confirmed; nothing was changed\nto fix: give --confirm homelab/);
  assert.equal(lab.target(), before);
  const pruned = await lab.script(['prune', '--confirm', 'homelab']);
  assert.is(pruned.code, 0, pruned.stderr);
  assert.equal(readdirSync(join(kept, '..')), [basename(kept)]);
});

test.run();
