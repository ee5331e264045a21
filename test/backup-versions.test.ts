import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { dumpersFor, type Installation, installations, installationsIn } from '../lib/backup/clients.ts';
import { inSession } from '../lib/backup/connect.ts';
import { dumpDatabase } from '../lib/backup/dump.ts';
import { dumpGlobals } from '../lib/backup/dump-programs.ts';
import type { Manifest } from '../lib/backup/manifest.ts';
import { majorOf } from '../lib/backup/names.ts';
import { nasOf } from '../lib/backup/nas.ts';
import { proveSet } from '../lib/backup/prove.ts';
import { publishSet } from '../lib/backup/publish.ts';
import { compareDatabase, restoreDatabase, restoreRoles } from '../lib/backup/restore.ts';
import { serverFacts } from '../lib/backup/server-facts.ts';
import type { HomelabError } from '../lib/errors.ts';
import { type ScratchPostgres, startScratchPostgres } from '../lib/lab/postgres.ts';
import type { Family, Script } from '../lib/main.ts';
import { realExec } from '../lib/ports/exec.ts';
import { realFiles } from '../lib/ports/files.ts';
import backup from '../scripts/backup-postgres.ts';
import { backupLab, runBeats } from './backup-harness.ts';

/** The engine against real servers of every version that can be had: dump, proof, restore, comparison. */
const test = suite('backup-postgres: versions of PostgreSQL');
const exec = realExec();
const nas = nasOf(realFiles(exec), 30);
const place = process.env.HOMELAB_POSTGRES_VERSIONS;
const required = (process.env.HOMELAB_REQUIRE ?? '').split(',').includes('postgres-versions');
const majors = place && existsSync(place) ? readdirSync(place).filter((name) => /^\d+$/.test(name)) : [];
const all = await installationsIn(
  majors.map((major) => join(String(place), major, 'bin')),
  exec,
);
if (majors.length === 0)
  console.log('skipped: HOMELAB_POSTGRES_VERSIONS names no folder with versions (.ci/postgres-versions makes one)');

const folder = mkdtempSync('/tmp/homelab-test-');
test.after(() => rmSync(folder, { recursive: true, force: true }));

/** A server of which only initdb and postgres are there can be dumped by the next version. */
const toolsOf = (major: number): Installation =>
  all.find((one) => one.major === major) ?? {
    ...{ folder: join(String(place), String(major), 'bin'), version: String(major), major, server: true },
  };

async function started(major: number, work: (pg: ScratchPostgres) => Promise<void>): Promise<void> {
  const data = mkdtempSync('/tmp/homelab-test-pg');
  const pg = await startScratchPostgres(data, { tools: toolsOf(major) });
  if ('missing' in pg) throw new Error(pg.missing);
  try {
    await work(pg);
  } finally {
    await pg.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

/** A published set of the server's database app, written by `tools`. */
async function setOf(
  pg: ScratchPostgres,
  tools: Installation,
): Promise<{ name: string; folder: string; manifest: Manifest }> {
  const facts = await inSession(pg.address, 'postgres', serverFacts);
  const incoming = mkdtempSync(join(folder, 'set-'));
  const env = { PGPASSWORD: pg.password };
  const dumping = {
    exec,
    nas,
    tools,
    major: facts.major,
    address: pg.address,
    env,
    folder: incoming,
    deadline: () => 120,
  };
  const globals = await dumpGlobals(dumping, 'postgres');
  const manifest: Manifest = {
    ...{ format: 1, run: '0a1b2c3d', lab: 'homelab', server: 'main', system_identifier: facts.systemIdentifier },
    ...{ started: '', finished: '', versions: { server: facts.version, client: tools.version } },
    ...{
      bootstrap_role: facts.bootstrapRole,
      roles: facts.roles,
      discovered: [],
      excluded: [],
      previous: null,
      globals,
    },
    databases: { app: await dumpDatabase(dumping, 'app') },
  };
  const lineage = mkdtempSync(join(folder, 'lineage-'));
  for (const name of ['sets', '.incoming']) mkdirSync(join(lineage, name));
  const name = '20260101T000000Z-0a1b2c3d';
  return { name, folder: await publishSet(nas, lineage, incoming, name, manifest), manifest };
}

const noClient = (): never => {
  throw new Error('no client');
};
const newest = Math.max(...all.map(({ major }) => major));
for (const major of majors.map(Number).sort((a, b) => a - b))
  test(`${major}: dumped by the oldest client that can, and by the newest; proven, restored, compared`, () =>
    started(major, async (pg) => {
      await pg.seed(['app']);
      assert.is(majorOf(pg.version), major);
      const oldest = dumpersFor(major, all);
      for (const tools of all.filter((one) => one === oldest || one.major === newest)) {
        const set = await setOf(pg, tools);
        const report = await proveSet({ exec, nas, installations: all, deadline: 120 }, set);
        assert.equal(report.problems, [], `by ${tools.version}`);
        assert.equal(
          report.differences,
          majorOf(report.server_version) === major ? [] : [`restored into PostgreSQL ${report.server_version}`],
        );
      }
      const set = await setOf(pg, oldest ?? noClient());
      const into = `again_${major}`;
      const context = { exec, installations: all, address: pg.address, major, deadline: 120, ...set };
      const restore = { ...context, systemIdentifier: set.manifest.system_identifier };
      await restoreRoles(restore);
      await restoreDatabase(restore, 'app', into);
      await compareDatabase(restore, 'app', into);
    }));

if (majors.length > 1)
  test(`a set of ${majors[0]} goes into ${majors.at(-1)}, by roles, restore and comparison`, async () => {
    const [from = 0, to = 0] = [Math.min(...majors.map(Number)), newest];
    let set: Awaited<ReturnType<typeof setOf>> | undefined;
    await started(from, async (pg) => {
      await pg.seed(['app']);
      set = await setOf(pg, dumpersFor(from, all) ?? noClient());
    });
    await started(to, async (pg) => {
      const { systemIdentifier } = await inSession(pg.address, 'postgres', serverFacts);
      if (!set) return;
      const restore = {
        exec,
        installations: all,
        address: pg.address,
        major: to,
        deadline: 120,
        systemIdentifier,
        ...set,
      };
      await restoreRoles(restore);
      await restoreDatabase(restore, 'app', 'app');
      await compareDatabase(restore, 'app', 'app');
    });
  });

const debians = newest > 0 ? (await installations(exec))[0] : undefined;
if (debians && debians.major < newest)
  test('a server that is newer than every client is refused, with what to install', async () => {
    const lab = await backupLab({}, undefined, toolsOf(newest));
    try {
      const family: Family = backup;
      const { failures } = await runBeats(lab, family.commands[0] as Script<unknown>, {});
      const error = failures['main/dump'] as HomelabError | undefined;
      assert.match(
        error?.message ?? '',
        new RegExp(`^PostgreSQL main is version ${newest}\\S+ this machine has only ${debians.version}`),
      );
      assert.match(error?.fix ?? '', new RegExp(`^apt install postgresql-${newest} `));
      assert.not(existsSync(join(lab.root, 'main')), 'nothing was written');
    } finally {
      await lab.close();
    }
  });

test('what is required is here', () => {
  if (required) assert.equal(majors.map(Number).sort(), [13, 14, 15, 16, 17, 18]);
});
test.run();
