import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import * as assert from 'uvu/assert';
import { parse, stringify } from 'yaml';
import { inSession } from '../lib/backup/connect.ts';
import type { Script } from '../lib/main.ts';
import type { SeenBackup } from '../lib/observe/backup.ts';
import type { RestoreArgs, SeenRestore } from '../lib/plan/restore.ts';
import type { Ports } from '../lib/ports/types.ts';
import restore from '../scripts/restore-postgres.ts';
import { content } from './backup-copy-fixture.ts';
import {
  attach,
  type BackupLab,
  commandOf,
  failing,
  labSuite,
  latestIn,
  lineageIn,
  newestIn,
  type Ran,
  runBeats,
  type StartedLab,
  said,
  setsIn,
} from './backup-harness.ts';
import { nodeArgv } from './node-argv.ts';

/** The second target and encryption, against a real PostgreSQL server, each step in the order of a lab's life. */
const { real, test } = await labSuite('backup-postgres, copies');

/** The lab as homelab.yaml says it with these keys of `backup`. */
function configure(lab: StartedLab, keys: object, ports: Partial<Ports> = {}): BackupLab {
  const file = join(lab.folder, 'homelab.yaml');
  const config = parse(readFileSync(file, 'utf8'));
  mkdirSync(join(lab.folder, 'elsewhere'), { recursive: true });
  for (const nas of config.nas)
    for (const one of nas.exports) if (one.name === 'K3sStorage') one.mount = join(lab.folder, 'elsewhere');
  const { target } = config.backup;
  delete target.encrypt_to;
  config.backup = {
    ...config.backup,
    second_target: undefined,
    ...keys,
    target: { ...target, ...('target' in keys ? (keys.target as object) : {}) },
  };
  writeFileSync(file, stringify(config));
  const attached = attach(lab.folder, lab.pg.port);
  return { ...attached, ports: { ...attached.ports, ...ports } };
}

const EXPORT = { export: 'unas/K3sStorage', path: 'copies', require_nfs: false };
const copying = (lab: StartedLab, more = {}): BackupLab => configure(lab, { second_target: { ...EXPORT, ...more } });
const run = (lab: BackupLab, args = {}): Promise<Ran<SeenBackup>> => runBeats(lab, commandOf('run'), args);
const second = (lab: BackupLab): string => join(lab.folder, 'elsewhere', 'copies');
const secret = await generateX25519Identity();
const recipient = await identityToRecipient(secret);
const other = await generateX25519Identity();
const keyFile = (lab: BackupLab, name: string, text: string): string => {
  const file = join(lab.folder, name);
  writeFileSync(file, `# created: now\n# public key: x\n${text}\n`);
  chmodSync(file, 0o600);
  return file;
};

/** `run`, with something done to an operation. */
function meddled(name: string, meddle: (lab: BackupLab) => void): Script<SeenBackup> {
  const plain = commandOf('run');
  return {
    ...plain,
    operations: (lab, args, context) => {
      const operations = plain.operations?.(lab, args, context) ?? {};
      const original = operations[name];
      if (!original) throw new Error(`no operation ${name}`);
      return {
        ...operations,
        [name]: async (given, applying) => {
          meddle({ ...attach(lab.paths.root, 0) });
          return original(given, applying);
        },
      };
    },
  };
}
const flip = (file: string): void => {
  const bytes = readFileSync(file);
  const at = Math.floor(bytes.length / 2);
  bytes[at] = (bytes[at] ?? 0) ^ 1;
  writeFileSync(file, bytes);
};
const dumpIn = (folder: string): string => {
  const [largest] = readdirSync(folder)
    .filter((name) => /\.(dump|age)$/.test(name))
    .sort((a, b) => statSync(join(folder, b)).size - statSync(join(folder, a)).size);
  return join(folder, largest ?? '');
};
const STALE = { ifStale: true };
let before: Record<string, string> = {};
const untouched = (lab: BackupLab): void => assert.equal(content(lab.root), before, 'the first target is only read');

test('a set from before the second target is copied, and proven by what is there', async (lab) => {
  await lab.pg.seed(['app']);
  assert.equal((await run(configure(lab, {}))).failures, {});
  before = content(lab.root);
  const ran = await run(copying(lab), STALE);
  assert.equal(ran.failures, {}, said(ran));
  assert.equal(
    ran.applied.map(({ id }) => id.replace(/\d{8}T.*/, 'SET')),
    ['second/mark', 'main/copy/SET', 'main/prove-copy/SET', 'main/prune-copies'],
  );
  assert.equal(
    ran.proofs.map(({ ok }) => ok),
    [true, true],
  );
  assert.equal(setsIn(second(lab)), setsIn(lab.root));
  assert.is(latestIn(second(lab)), latestIn(lab.root));
  untouched(lab);
  assert.equal((await run(copying(lab), STALE)).plan.steps, [], 'nothing is copied twice');
});

test('a byte that flips after the copy is found by its own proof; the next run copies it anew', async (lab) => {
  const [name = ''] = setsIn(second(lab));
  rmSync(join(newestIn(second(lab)), 'verify.json'));
  const meddle = meddled('prove-copy', () => flip(dumpIn(newestIn(second(lab)))));
  const ran = await runBeats(copying(lab), meddle, STALE);
  failing(
    ran,
    [`main/prove-copy/${name}`],
    /the copy \S+ could not be proven;.*next run copies the set anew;.*SHA-256/s,
  );
  untouched(lab);
  const status = await commandOf('status').observe(copying(lab).lab, lab.ports, {}, lab.context);
  const report = commandOf('status').report?.(copying(lab).lab, status, {}, []);
  assert.match(report?.text ?? '', /^main: fresh: .*\nmain, second target: STALE: there is no proven copy/);
  assert.is(report?.exit, 3);
  assert.equal((await run(copying(lab), STALE)).failures, {});
  assert.is(latestIn(second(lab)), name);
});

test('verify --from second finds a byte that flips later, and list shows both targets', async (lab) => {
  const copied = copying(lab);
  const file = dumpIn(newestIn(second(lab)));
  flip(file);
  failing(
    await runBeats(copied, commandOf('verify'), { from: 'second' }),
    [`main/verify/${setsIn(second(lab))[0]}`],
    /SHA-256/,
  );
  flip(file);
  untouched(lab);
  const seen = await commandOf('list').observe(copied.lab, copied.ports, {}, copied.context);
  const text = commandOf('list').report?.(copied.lab, seen, {}, [])?.text ?? '';
  assert.match(
    text,
    /^main: 1 set, newest first\n.*\n.*\n.* proven .*\n {2}second target: 1 copy\n.*\n.* unproven (.|\n)*SHA-256/,
  );
  assert.equal((await runBeats(copied, commandOf('verify'), { from: 'second' })).failures, {});
});

test('a second target that is away fails what is its own; the first is proven all the same', async (lab) => {
  const away = join(lab.folder, 'elsewhere');
  renameSync(away, `${away}.off`);
  const copied = configure(lab, { second_target: EXPORT });
  rmSync(away, { recursive: true });
  const ran = await run(copied);
  failing(ran, ['main/copy'], /the second target: .*elsewhere is not there; make it and mount/);
  assert.is(setsIn(lab.root).length, 2);
  assert.is(latestIn(lab.root), setsIn(lab.root)[1], 'the new set is proven');
  assert.match(ran.plan.notes.map(({ text }) => text).join(), /the second target: .*elsewhere is not there/);
  const seen = await commandOf('status').observe(copied.lab, copied.ports, {}, copied.context);
  assert.match(commandOf('status').report?.(copied.lab, seen, {}, [])?.text ?? '', /main, second target: AWAY: /);
  failing(await run(copied, STALE), ['main/copy'], /is not there/);
  renameSync(`${away}.off`, away);
  before = content(lab.root);
});

test('what is mounted there must be ours, and not the first target', async (lab) => {
  const file = join(second(lab), '.target.json');
  const own = readFileSync(file, 'utf8');
  for (const [text, message] of [
    [own.replace('"lab": "', '"lab": "another'), /belongs to the lab another/],
    [own.replace(/"id": "../, '"id": "zz'), /has the id zz.*went to a target with the id/],
    ['', /\.target\.json is damaged/],
  ] as const) {
    writeFileSync(file, text);
    failing(await run(copying(lab), STALE), ['main/copy'], message);
  }
  const memory = join(lab.folder, '.state', 'homelab', 'backup-second-target.json');
  const remembered = readFileSync(memory);
  rmSync(memory);
  writeFileSync(file, readFileSync(join(lab.root, '.target.json')));
  failing(await run(copying(lab), STALE), ['main/copy'], /has the id of the first target/);
  writeFileSync(memory, remembered);
  writeFileSync(file, own);
  untouched(lab);
});

test('a folder must be a mount point', async (lab) => {
  const disk = { second_target: { folder: join(lab.folder, 'elsewhere'), path: 'copies' } };
  failing(
    await run(configure(lab, disk), STALE),
    ['main/copy'],
    /elsewhere is no mount point: .*attach the disk, and mount it on/,
  );
  const mounted = {
    ...lab.ports.files,
    mountOf: async (path: string) => ({ target: path, source: '/dev/sdb1', type: 'ext4' }),
  };
  const ran = await run(configure(lab, disk, { files: mounted }), STALE);
  assert.equal(ran.failures, {}, said(ran));
  assert.equal(setsIn(second(lab)), setsIn(lab.root), 'what was missing is there');
  untouched(lab);
});

for (const [operation, wait] of [
  ['copy', 0],
  ['copy', 40],
  ['prove-copy', 0],
  ['prove-copy', 1500],
  ['prune-copies', 0],
] as const)
  test(`killed ${wait} ms into ${operation}: the first is as it was, and the next run converges`, async (lab) => {
    copying(lab);
    rmSync(lineageIn(second(lab)), { recursive: true });
    assert.is(await killed(lab, operation, wait), 'SIGKILL');
    untouched(lab);
    const ran = await run(copying(lab), STALE);
    assert.equal(ran.failures, {}, said(ran));
    assert.equal(setsIn(second(lab)), setsIn(lab.root));
    assert.equal(readdirSync(join(lineageIn(second(lab)), '.incoming')), []);
    untouched(lab);
  });

async function killed(lab: StartedLab, operation: string, wait: number): Promise<unknown> {
  const [node = '', ...argv] = nodeArgv('test/backup-copies-child.ts');
  const child = [...argv, lab.folder, String(lab.pg.port), operation, String(wait)];
  const [, signal] = await once(spawn(node, child, { stdio: 'ignore' }), 'exit');
  return signal;
}

/** What an owner deletes when the second target is to be another one. */
const forget = (lab: BackupLab): void => rmSync(join(lab.folder, '.state', 'homelab', 'backup-second-target.json'));
const sealed = (lab: StartedLab): BackupLab => copying(lab, { path: 'sealed', encrypt_to: [recipient] });
const sealedRoot = (lab: BackupLab): string => join(lab.folder, 'elsewhere', 'sealed');

test('an encrypted copy was restored from what lies there, by the run that made it', async (lab) => {
  failing(await run(sealed(lab), STALE), ['main/copy'], /sealed is empty, but this lab's backups were there/);
  forget(lab);
  const ran = await run(sealed(lab));
  assert.equal(ran.failures, {}, said(ran));
  assert.ok(ran.applied.some(({ id }) => id === 'main/prove-copy'));
  assert.equal(setsIn(sealedRoot(lab)), setsIn(lab.root));
  const folder = newestIn(sealedRoot(lab));
  const report = JSON.parse(readFileSync(join(folder, 'verify.json'), 'utf8')).report;
  assert.ok(report.ok && report.rows > 0);
  for (const name of readdirSync(folder)) {
    assert.is(statSync(join(folder, name)).mode & 0o777, 0o600, name);
    assert.not.match(readFileSync(join(folder, name), 'latin1'), /app\.dump|Shop|search_path|CREATE ROLE/, name);
  }
  before = content(lab.root);
});

test('verify without the identity compares hashes, and says so; with it, it restores', async (lab) => {
  const lab2 = sealed(lab);
  const verify = (args: object): Promise<Ran<SeenBackup>> =>
    runBeats(lab2, commandOf('verify'), { from: 'second', ...args });
  const step = `main/verify/${setsIn(sealedRoot(lab)).at(-1)}`;
  const hashed = await verify({});
  assert.equal(hashed.failures, {});
  assert.match(hashed.plan.notes[0]?.text ?? '', /encrypted sets are compared by hash only/);
  assert.match(hashed.plan.steps[0]?.title ?? '', /without --identity not restored/);

  const key = keyFile(lab, 'key.txt', secret);
  failing(await verify({ identity: keyFile(lab, 'other.txt', other) }), [step], /0001\.age is not encrypted to age1/);
  assert.equal((await verify({ identity: key })).failures, {});

  const file = dumpIn(newestIn(sealedRoot(lab)));
  flip(file);
  failing(await verify({}), [step], /its SHA-256 is another/);
  flip(file);
  failing(
    await verify({}),
    [step],
    /is encrypted, and was not proven so far; backup-postgres verify \S+ --identity FILE/,
  );
  const whole = await verify({ identity: key });
  assert.equal(whole.failures, {}, said(whole));
  assert.is(latestIn(sealedRoot(lab)), setsIn(sealedRoot(lab)).at(-1));
  untouched(lab);
});

test('restore-postgres takes an encrypted copy when the first target is gone', async (lab) => {
  const lab2 = sealed(lab);
  const plain: Script<SeenRestore, RestoreArgs> = restore;
  const taking = (args: object): Promise<Ran<SeenRestore>> =>
    runBeats(lab2, plain, { server: 'main', database: ['app'], ...args });
  const blocker = ({ plan }: Ran<unknown>): string => plan.notes.map(({ text, fix }) => `${text}; ${fix}`).join();
  renameSync(lab.mount, `${lab.mount}.gone`);
  assert.match(blocker(await taking({})), /nas is not there; .*; or take a copy of the second target: --from second/);
  assert.match(
    blocker(await taking({ from: 'second' })),
    /is encrypted to age1.*; give the file with the secret key.*--identity FILE/,
  );
  const key = keyFile(lab, 'key.txt', secret);
  assert.match(
    blocker(await taking({ from: 'second', identity: key, database: ['nope'] })),
    /has no database "nope"; known: app, postgres/,
  );
  const ran = await taking({ from: 'second', identity: key });
  assert.equal(ran.failures, {}, said(ran));
  assert.equal(
    ran.applied.map(({ id }) => id),
    ['main/hash', 'main/app/restore', 'main/app/compare'],
  );
  renameSync(`${lab.mount}.gone`, lab.mount);
  const into = `app__restore_${ran.seen.runId}`;
  await inSession(lab.pg.address, 'postgres', (client) => client.query(`DROP DATABASE "${into}"`).then(() => {}));
});

const bothSealed = (lab: StartedLab): BackupLab =>
  configure(lab, { target: { encrypt_to: [recipient] }, second_target: { ...EXPORT, path: 'both' } });

test('killed while the first target is encrypted: its sets are proven, and the next run ends it', async (lab) => {
  forget(lab);
  bothSealed(lab);
  assert.is(await killed(lab, 'encrypt', 15), 'SIGKILL');
  const seen = await commandOf('list').observe(bothSealed(lab).lab, lab.ports, {}, lab.context);
  assert.ok(seen.servers[0]?.sets.every(({ state }) => state === 'proven'));
  const ran = await run(bothSealed(lab));
  assert.equal(ran.failures, {}, said(ran));
  for (const root of [lab.root, join(lab.folder, 'elsewhere', 'both')])
    for (const name of setsIn(root))
      assert.equal(
        readdirSync(join(lineageIn(root), 'sets', name)).filter((file) => !file.endsWith('.age')),
        ['encrypted.json', 'verify.json'],
        name,
      );
  assert.equal(setsIn(join(lab.folder, 'elsewhere', 'both')), setsIn(lab.root));
  const key = keyFile(lab, 'key.txt', secret);
  const verified = await runBeats(bothSealed(lab), commandOf('verify'), { identity: key });
  assert.equal(verified.failures, {}, said(verified));
});

test('an emptied server is an alarm also where the set before is encrypted', async (lab) => {
  await inSession(lab.pg.address, 'postgres', (client) => client.query('DROP DATABASE app').then(() => {}));
  const ran = await run(bothSealed(lab));
  failing(ran, ['main/compare'], /is proven, but there are 1 databases; there were 2/);
  assert.ok(ran.applied.some(({ id, outcome }) => id === 'main/encrypt' && outcome === 'skipped'));
});

real.run();
