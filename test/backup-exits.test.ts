import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { connectServer } from '../lib/backup/connect.ts';
import { takeServerLock } from '../lib/backup/lock.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { postgresHere } from './backup-harness.ts';
import { type How, type Raw, type ScriptLab, scriptLab } from './backup-script.ts';

/**
 * The table of exit codes in docs/BACKUP.md, each line through the real script: a clear error with value and fix, the
 * exit code, nothing on the target changed, and everybody told.
 */
const test = suite('backup-postgres: exit codes');
const here = await postgresHere();
const one: ScriptLab | undefined = here ? await scriptLab() : undefined;
test.after(() => one?.close());
const real = (name: string, body: (lab: ScriptLab) => Promise<void>): void => {
  if (one) test(name, () => body(one));
};
const HIDDEN = new URL('./fixtures/hidden-postgres.ts', import.meta.url).href;
const DEFECT = new URL('./fixtures/defect.ts', import.meta.url).href;

real('0: a first run is proven, and told: start, success, metrics', async (lab) => {
  await lab.pg.seed(['app']);
  const { code, stderr } = await lab.script(['run', '--yes', '--quiet']);
  assert.is(code, 0, stderr);
  assert.is(stderr, '', 'cron has nothing to mail');
  const { notices, pings } = lab.told();
  assert.equal(
    notices.map(({ event, exit, problems }) => [event, exit, problems]),
    [
      ['start', undefined, []],
      ['success', 0, []],
    ],
  );
  const run = notices[0]?.run;
  assert.equal(
    pings.map(({ path }) => path),
    [`/ping/${lab.pingKey}/start?rid=${run}`, `/ping/${lab.pingKey}?rid=${run}`],
  );
  const [server] = notices[1]?.servers ?? [];
  assert.is(server?.stale, false);
  assert.match(lab.metrics(), /^homelab_backup_exit_code\{lab="homelab",server="main"\} 0$/m);
  const verified = /^homelab_backup_last_verified_timestamp_seconds\{.*\} (\d+)$/m.exec(lab.metrics())?.[1];
  assert.ok(Math.abs(Number(verified) - Date.now() / 1000) < 300, verified);
});

/** A table that nobody else can read: a dump hangs at it. */
async function lockedTable({ pg }: ScriptLab): Promise<{ waitedFor(): Promise<void>; free(): Promise<void> }> {
  const { client } = await connectServer(pg.address);
  await client.query('CREATE TABLE public.busy ()');
  await client.query('BEGIN; LOCK TABLE public.busy');
  return {
    waitedFor: async () => {
      for (let i = 0; i < 600; i++) {
        if ((await client.query('SELECT FROM pg_locks WHERE NOT granted')).rowCount) return;
        await new Promise((done) => setTimeout(done, 100));
      }
      throw new Error('nobody waits for the table');
    },
    free: async () => {
      await client.query('DROP TABLE public.busy; COMMIT');
      await client.end();
    },
  };
}

type Case = {
  name: string;
  exit: number;
  /** What the error says, and what it says to do. */
  said: RegExp;
  phase: string;
  change?: (lab: ScriptLab) => (() => void | Promise<void>) | void | Promise<() => void | Promise<void>>;
  args?: string[];
  how?: (lab: ScriptLab) => How;
};

const withPath = (lab: ScriptLab, version?: string): How => {
  const bin = join(lab.folder, 'bin');
  rmSync(bin, { recursive: true, force: true });
  mkdirSync(bin);
  if (version)
    writeFileSync(join(bin, 'pg_dump'), `#!/bin/sh\necho 'pg_dump (PostgreSQL) ${version}'\n`, { mode: 0o755 });
  const others = (process.env.PATH ?? '').split(delimiter).filter((path) => !holdsPostgres(path));
  return { preload: HIDDEN, env: { PATH: [bin, ...others, ...shimmed(lab)].join(delimiter) } };
};
/** Debian has wrappers named pg_dump in /usr/bin; everything else of that folder is linked beside it. */
function shimmed({ folder }: ScriptLab): string[] {
  const links = join(folder, 'links');
  mkdirSync(links, { recursive: true });
  for (const name of ['sh', 'id', 'setpriv', 'runuser', 'findmnt', 'mount', 'cat'])
    for (const path of ['/usr/bin', '/bin', '/usr/sbin', '/sbin'])
      if (!readdirSync(links).includes(name) && readdirSync(path).includes(name))
        writeFileSync(join(links, name), `#!/bin/sh\nexec ${path}/${name} "$@"\n`, { mode: 0o755 });
  return [links];
}
function holdsPostgres(path: string): boolean {
  try {
    return readdirSync(path).includes('pg_dump');
  } catch {
    return false;
  }
}
const server = (raw: Raw): Record<string, unknown> => raw.backup.postgresql[0];
const configured = (change: (raw: Raw) => void) => (lab: ScriptLab) => lab.configure(change);

const CASES: Case[] = [
  {
    name: 'no client',
    ...{ exit: 1, phase: 'dump' },
    said: /this machine has none, and pg_dump must not be older than the server.*to fix: apt install postgresql-\d+/s,
    how: (lab) => withPath(lab),
  },
  {
    name: 'a client that is older than the server',
    ...{ exit: 1, phase: 'dump' },
    said: /is version \d+\.\d+; this machine has only 9\.6\.24, and pg_dump must not be older.*to fix: apt install/s,
    how: (lab) => withPath(lab, '9.6.24'),
  },
  {
    name: 'a server that does not answer',
    ...{ exit: 1, phase: 'dump' },
    said: /ECONNREFUSED.*127\.0\.0\.1:1.*to fix: see whether the database runs/s,
    change: configured((raw) => {
      server(raw).port = 1;
    }),
  },
  {
    name: 'a wrong password',
    ...{ exit: 1, phase: 'dump' },
    said: /password authentication failed for user "postgres".*to fix: set POSTGRES_MAIN_PASSWORD/s,
    change: (lab) => lab.env({ POSTGRES_MAIN_PASSWORD: 'not-the-password' }),
  },
  {
    name: 'no password',
    ...{ exit: 2, phase: 'configuration' },
    said: /\.env: POSTGRES_MAIN_PASSWORD is missing\nto fix: add it to .*\.env/,
    change: (lab) => lab.env({ POSTGRES_MAIN_PASSWORD: '' }),
  },
  {
    name: 'a .env that others can read',
    ...{ exit: 2, phase: 'configuration' },
    said: /\.env holds secrets and can be read by others \(mode 0644\)\nto fix: chmod 600/,
    change: (lab) => lab.env({}, 0o644),
  },
  {
    name: 'a database that is not there',
    ...{ exit: 1, phase: 'dump' },
    said: /"ap".*"app"/s,
    change: configured((raw) => {
      server(raw).include = ['ap'];
    }),
  },
  {
    name: 'a user that is no superuser',
    ...{ exit: 1, phase: 'dump' },
    said: /app_owner is not a superuser.*to fix: name a superuser/s,
    change: (lab) => {
      lab.configure((raw) => {
        server(raw).user = 'app_owner';
      });
      lab.env({ POSTGRES_MAIN_PASSWORD: 'only-a-test' });
    },
  },
  {
    name: 'a target that is not there',
    ...{ exit: 1, phase: 'plan' },
    said: /blocker: \S+\/nas is not there; make it and mount 10\.20\.11\.10:\/volume1\/k3s-backups on it/,
    change: ({ nas }) => {
      renameSync(nas, `${nas}.away`);
      return () => renameSync(`${nas}.away`, nas);
    },
  },
  {
    name: 'a target that is not mounted: an empty folder is where it was',
    ...{ exit: 1, phase: 'plan' },
    said: /blocker: \S+\/postgresql is empty, but this lab's backups were there.*; mount the right one/,
    change: ({ nas }) => {
      renameSync(nas, `${nas}.away`);
      mkdirSync(nas);
      return () => {
        rmSync(nas, { recursive: true });
        renameSync(`${nas}.away`, nas);
      };
    },
  },
  {
    name: 'a target that is no NFS mount',
    ...{ exit: 1, phase: 'plan' },
    said: /blocker: \S+\/nas is not the NAS: .* is mounted there, not 10\.20\.11\.10:\S+; mount .*require_nfs: false/,
    change: configured((raw) => {
      raw.backup.target.require_nfs = true;
    }),
  },
  {
    name: 'a target of another lab',
    ...{ exit: 1, phase: 'plan' },
    said: /blocker: \S+ belongs to the lab other, not to homelab; choose another backup\.target\.path/,
    change: ({ root }) => {
      const file = join(root, '.target.json');
      const text = readFileSync(file, 'utf8');
      writeFileSync(file, text.replace('"homelab"', '"other"'));
      return () => writeFileSync(file, text);
    },
  },
  {
    name: 'a target with another id',
    ...{ exit: 1, phase: 'plan' },
    said: /blocker: \S+ has the id another; this lab's backups went to a target with the id .*; mount the right one/,
    change: ({ root }) => {
      const file = join(root, '.target.json');
      const text = readFileSync(file, 'utf8');
      writeFileSync(file, text.replace(/"id": "[^"]*"/, '"id": "another"'));
      return () => writeFileSync(file, text);
    },
  },
  {
    name: 'a homelab.yaml with a mistake',
    ...{ exit: 2, phase: 'configuration' },
    said: /homelab\.yaml:\d+:\d+: backup\.keep\.last: 0: must be at least 1; write 1 or more/,
    change: configured((raw) => {
      raw.backup.keep.last = 0;
    }),
  },
  {
    name: 'a mistake in backup.notify itself: what is right in it is used',
    ...{ exit: 2, phase: 'configuration' },
    said: /backup\.notify\.sucess: unknown key "sucess"; did you mean "success"\?/,
    change: configured((raw) => {
      raw.backup.notify.sucess = ['x'];
    }),
  },
  {
    name: 'an option that there is not',
    ...{ exit: 2, phase: 'configuration' },
    said: /unknown option '--if-stail'\n\(Did you mean --if-stale\?\)/,
    args: ['run', '--if-stail'],
  },
  {
    name: 'a server that homelab.yaml does not have',
    ...{ exit: 2, phase: 'configuration' },
    said: /--server mian: backup\.postgresql has no such server; did you mean "main"\?/,
    args: ['run', '--yes', '--server', 'mian'],
  },
  {
    name: 'a server whose name is empty, which must not stand for every server',
    ...{ exit: 2, phase: 'configuration' },
    said: /name at least one server; left out, every server is meant/,
    args: ['run', '--yes', '--server', ''],
  },
  {
    name: 'another run that holds the lock',
    ...{ exit: 75, phase: 'dump' },
    said: /PostgreSQL main is being backed up already \(server process \d+, .*to fix: wait until that run has ended/s,
    change: async ({ pg }) => {
      const { client } = await connectServer(pg.address);
      await takeServerLock(client, 'main');
      return () => client.end();
    },
  },
  {
    name: 'a table that stays locked until the deadline of the run',
    ...{ exit: 1, phase: 'dump' },
    said: /pg_dump --format=custom: not within [\d.]+ s/,
    change: async (lab) => {
      lab.configure((raw) => {
        raw.backup.deadlines = { run_seconds: 4 };
      });
      return (await lockedTable(lab)).free;
    },
  },
];

for (const { name, exit, said, phase, change, args = ['run', '--yes', '--quiet'], how } of CASES)
  real(`${exit}: ${name}`, async (lab) => {
    const before = lab.target();
    const undo = await change?.(lab);
    try {
      const { code, stdout, stderr } = await lab.script(args, how?.(lab));
      assert.is(code, exit, stderr);
      assert.match(stderr, said);
      assert.is(stdout, '');
    } finally {
      await undo?.();
      lab.configure();
      lab.env();
    }
    assert.equal(lab.target(), before, 'nothing on the target changed');
    const { notices, pings } = lab.told();
    const last = notices.at(-1);
    assert.equal([last?.event, last?.exit, last?.problems[0]?.phase], ['failure', exit, phase]);
    assert.is(last?.lab, 'homelab');
    assert.match(pings.at(-1)?.path ?? '', `/ping/${lab.pingKey}/fail?rid=${last?.run}`);
    assert.match(lab.metrics(), new RegExp(`^homelab_backup_exit_code\\{lab="homelab",server="main"\\} ${exit}$`, 'm'));
    assert.match(lab.metrics(), /^homelab_backup_last_verified_timestamp_seconds\{.*\} 1\d{9}$/m, 'it is kept');
  });

/** In a mount namespace of its own, where a part of the target is a file system as it is not wished for. */
const namespaces = process.getuid?.() === 0 && process.platform === 'linux';
for (const [name, mount, said] of [
  [
    'a target that is full',
    // Room for what is there, and for a few pages more.
    'size=$(du -sk nas | cut -f1); mount -t tmpfs -o size=$((size + 64))k tmpfs full && cp -a nas/. full/ && mount --bind full nas',
    /MiB free; the last set has .* and twice that is needed.*to fix: make room on the NAS|the target is full/s,
  ],
  ['a target that is read-only', 'mount --bind nas nas && mount -o remount,ro,bind nas', /read-only|EROFS/i],
] as const)
  real(`1: ${name}`, async (lab) => {
    if (!namespaces) return console.log(`skipped: ${name}: only root can mount`);
    mkdirSync(join(lab.folder, 'full'), { recursive: true });
    const before = lab.target();
    // The mounts end with the namespace; what was on the target is written down before.
    const sums = 'find nas -type f ! -path "*/.incoming/*" -exec sha256sum {} + | sort > sums.after';
    const inside = `cd '${lab.folder}' && ${mount} && cd '${TOOLKIT}' && { "$@"; code=$?; cd '${lab.folder}'; ${sums}; exit $code; }`;
    const { code, stderr } = await lab.script(['run', '--yes'], {
      before: ['unshare', '-m', 'sh', '-c', inside, 'sh'],
    });
    assert.is(code, 1, stderr);
    assert.match(stderr, said);
    assert.equal(lab.target(), before);
    const names = readFileSync(join(lab.folder, 'sums.after'), 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.slice(66));
    assert.equal(
      names.sort(),
      Object.keys(before)
        .map((path) => `nas/${path}`)
        .sort(),
    );
    const { notices, pings } = lab.told();
    assert.equal([notices.at(-1)?.event, notices.at(-1)?.exit], ['failure', 1]);
    assert.match(pings.at(-1)?.path ?? '', '/fail?rid=');
  });

real('0: a target that a killed run has filled is swept before its room is judged', async (lab) => {
  if (!namespaces) return console.log('skipped: a filled target: only root can mount');
  mkdirSync(join(lab.folder, 'full'), { recursive: true });
  const mount = `mount -t tmpfs -o size=$(($(du -sk nas | cut -f1) + 8192))k tmpfs full && cp -a nas/. full/ &&
    for lineage in full/postgresql/main/*; do mkdir -p $lineage/.incoming/0a0b0c0d; dd if=/dev/zero of=$lineage/.incoming/0a0b0c0d/app.dump 2> dd.said; done
    grep -q 'No space' dd.said && mount --bind full nas`;
  const inside = `cd '${lab.folder}' && ${mount} && cd '${TOOLKIT}' && "$@"`;
  const { code, stderr } = await lab.script(['run', '--yes'], { before: ['unshare', '-m', 'sh', '-c', inside, 'sh'] });
  assert.is(code, 0, stderr);
});

for (const [signal, exit, said] of [
  ['SIGTERM', 143, 'ended by SIGTERM during main dump'],
  ['SIGINT', 130, 'ended by SIGINT during main dump'],
  ['SIGUSR2', 1, 'a defect of ours'],
] as const)
  real(`${exit}: ${signal === 'SIGUSR2' ? 'an error that nobody waited for' : signal}`, async (lab) => {
    const before = lab.target();
    const { waitedFor, free } = await lockedTable(lab);
    const { child, ended } = lab.start(['run', '--yes'], { preload: DEFECT });
    await waitedFor();
    child.kill(signal);
    const { code, stderr } = await ended;
    await free();
    assert.is(code, exit, stderr);
    const { notices, pings } = lab.told();
    const last = notices.at(-1);
    const [problem] = last?.problems ?? [];
    assert.equal([last?.event, last?.exit, problem?.server, problem?.phase], ['failure', exit, 'main', 'dump']);
    assert.match(problem?.message ?? '', said);
    assert.match(pings.at(-1)?.path ?? '', '/fail?rid=');
    assert.equal(lab.target(), before);
  });

real(
  'a program that fails, and a healthcheck that does not answer, are warnings: the verdict stays, and is told',
  async (lab) => {
    lab.configure((raw) => {
      raw.backup.notify.start = ['/no/such/program'];
      raw.backup.notify.success = ['/bin/sh', '-c', 'echo broken >&2; exit 7'];
      raw.backup.notify.timeout_seconds = 5;
      raw.backup.notify.metrics_file = join(lab.folder, 'mistyped', 'x.prom');
    });
    lab.answers.push(200, 503, 200);
    const { code, stderr } = await lab.script(['run', '--yes', '--quiet', '--if-stale']);
    assert.is(code, 0, stderr);
    assert.match(stderr, /^warning: backup\.notify\.start: \/no\/such\/program ended with exit code 127/m);
    assert.match(stderr, /^warning: backup\.notify\.success: \/bin\/sh ended with exit code 7: broken$/m);
    assert.match(stderr, /^warning: backup\.notify\.metrics_file: \S+\/mistyped is not there; make it, or write/m);
    assert.not.ok(existsSync(join(lab.folder, 'mistyped')));
    assert.not.match(stderr, 'healthcheck', 'the second attempt succeeded');
    assert.is(lab.told().pings.length, 3);

    lab.answers.push(404, 404);
    lab.configure((raw) => {
      raw.backup.postgresql[0].port = 1;
      raw.backup.notify.failure = ['/bin/sh', '-c', 'sleep 60'];
      raw.backup.notify.timeout_seconds = 1;
      raw.backup.notify.metrics_file = join(lab.folder, 'homelab.yaml', 'x.prom');
    });
    const failed = await lab.script(['run', '--yes', '--quiet']);
    assert.is(failed.code, 1);
    assert.match(failed.stderr, /ECONNREFUSED.*to fix: see whether the database runs/s);
    assert.match(failed.stderr, /^warning: the healthcheck was not told \(failure\): it answered 404/m);
    assert.match(failed.stderr, /^warning: backup\.notify\.failure: \/bin\/sh: .*not within 1 s$/m);
    assert.match(failed.stderr, /^warning: backup\.notify\.metrics_file: .*(EEXIST|ENOTDIR)/m);
    lab.configure();
    lab.told();
  },
);

real('a push monitor of Uptime Kuma: one GET at the end, up or down, in its own form', async (lab) => {
  const push = `/api/push/${lab.pingKey}`;
  lab.env({ BACKUP_HEALTHCHECK_URL: lab.monitor(`${push}?status=up&msg=OK&ping=`) });
  const beats = (): [string, string, string, string | null, string | null, boolean][] =>
    lab.told().pings.map(({ method, path, body }) => {
      const { pathname, searchParams: query } = new URL(path, 'http://kuma');
      return [method, pathname, body, query.get('status'), query.get('msg'), Number(query.get('ping')) > 0];
    });
  assert.is((await lab.script(['run', '--yes', '--if-stale'])).code, 0);
  assert.equal(beats(), [['GET', push, '', 'up', 'backup of homelab: all proven', true]]);

  lab.configure((raw) => {
    raw.backup.postgresql[0].port = 1;
  });
  lab.answers.push(503, 200);
  const failed = await lab.script(['run', '--yes']);
  assert.is(failed.code, 1);
  assert.not.match(failed.stderr, new RegExp(`healthcheck|${lab.pingKey}`), 'the second attempt succeeded');
  const [first, again, ...more] = beats();
  assert.equal([first, more], [again, []]);
  assert.equal(first?.slice(0, 4), ['GET', push, '', 'down']);
  assert.match(first?.[4] ?? '', /^backup of homelab failed \(exit code 1\): main: dump: .*ECONNREFUSED/);
  assert.ok((first?.[4] ?? '').length <= 200);

  lab.answers.push(404);
  const unknown = await lab.script(['run', '--yes']);
  assert.match(unknown.stderr, /^warning: the healthcheck was not told \(failure\): it answered 404; is BACKUP_/m);
  assert.not.match(unknown.stderr, lab.pingKey);
  lab.configure();
  lab.env();
  lab.told();
});

real('a look is no run: nobody is told', async (lab) => {
  for (const flag of ['--dry-run', '--check']) await lab.script(['run', flag]);
  await lab.script(['run', '--check', '--frob']);
  assert.equal(lab.told(), { notices: [], pings: [] });
});

test.run();
