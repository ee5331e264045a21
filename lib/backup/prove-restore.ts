import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { HomelabError } from '../errors.ts';
import type { Exec, Outcome } from '../ports/types.ts';
import { type Installation, majorOf, restoreJobs } from './clients.ts';
import { type Cluster, spaceFix } from './cluster.ts';
import { type DatabaseAddress, inSession, programConnection } from './connect.ts';
import { contentOf, differences, sequencesOf } from './content.ts';
import { discreetOutput } from './discreet-output.ts';
import { withoutTablespaces } from './globals.ts';
import type { DumpedDatabase, Manifest } from './manifest.ts';
import { quoteIdent, quoteLiteral } from './names.ts';
import type { Nas } from './nas.ts';
import { propertiesOf } from './properties.ts';
import { makeScratch } from './scratch.ts';
import { serverFacts } from './server-facts.ts';
import { restoreDump } from './uncomputed.ts';

/** Restores a set into the throw-away server of its proof, part by part; each says what is wrong with it. */
export async function restorer(
  exec: Exec,
  nas: Nas,
  tools: Installation,
  cluster: Cluster,
  manifest: Manifest,
  folder: string,
  deadline: number,
) {
  // A superuser of our own: the globals may well take LOGIN from the one that initdb made.
  const proof = `homelab_proof_${manifest.run}`;
  await inSession(cluster.address, 'template1', async (client) => {
    await client.query(`CREATE ROLE ${quoteIdent(proof)} SUPERUSER LOGIN`);
    // Our own, empty one: the dump brings its own `postgres`.
    await client.query('DROP DATABASE postgres');
  });
  const address: DatabaseAddress = { ...cluster.address, user: proof };
  const run = (name: string, args: string[]): Promise<Outcome> =>
    exec.run([join(tools.folder, name), ...args], {
      // A database may be set to be read-only; what a session asks for at its start wins.
      env: { LC_ALL: 'C', PGOPTIONS: '-c default_transaction_read_only=off' },
      deadline,
    });
  /** @param created whether the database is there; otherwise the dump makes it, before anything else */
  const restore = async (name: string, dumped: DumpedDatabase, created: boolean, uncomputed: string[]) => {
    const lists = makeScratch();
    const dump = join(folder, dumped.file);
    let there = created;
    const fill = (args: string[]): Promise<Outcome> => {
      const where = there ? [] : ['--create'];
      const into = programConnection(address, there ? name : 'template1');
      there = true;
      const options = ['--no-tablespaces', '--no-password', ...restoreJobs(dumped), ...args, ...where];
      return run('pg_restore', [...options, `--dbname=${into}`, dump]);
    };
    try {
      const list = (args: string[]): Promise<Outcome> => run('pg_restore', args);
      const restored = await restoreDump(dumped, dump, lists.path, { list, fill });
      if (restored.uncomputed) uncomputed.push(name);
      return restored.outcome;
    } finally {
      lists.remove();
    }
  };

  return {
    async extensions(): Promise<Set<string>> {
      const names = await inSession(address, 'template1', (client) =>
        client.query<{ name: string }>('SELECT name FROM pg_available_extensions'),
      );
      return new Set(names.rows.map(({ name }) => name));
    },

    async globals(): Promise<string[]> {
      const scratch = makeScratch();
      try {
        const file = join(scratch.path, 'globals.sql');
        const text = (await nas.text(join(folder, manifest.globals.file))) ?? '';
        writeFileSync(file, withoutTablespaces(text, manifest.bootstrap_role), { mode: 0o600 });
        const outcome = await run('psql', [
          ...['--no-psqlrc', '--quiet', '--no-password', '--set=ON_ERROR_STOP=1', `--file=${file}`],
          `--dbname=${programConnection(address, 'template1')}`,
        ]);
        if (outcome.code !== 0) return [`the roles were not restored: ${explain(outcome)}`];
        const { roles } = await inSession(address, 'template1', serverFacts);
        const missing = manifest.roles.filter((role) => !roles.includes(role));
        return missing.map((role) => `the role ${JSON.stringify(role)} is not among those that were dumped`);
      } finally {
        scratch.remove();
      }
    },

    async database(name: string, dumped: DumpedDatabase, differing: string[], uncomputed: string[]): Promise<string[]> {
      let byDump = true;
      let outcome = await restore(name, dumped, false, uncomputed);
      if (outcome.code !== 0 && UNKNOWN_LOCALE.test(outcome.stderr)) {
        byDump = false;
        differing.push(
          `${JSON.stringify(name)} was restored with the locale C: this machine does not know ${dumped.collate}`,
        );
        await inSession(address, 'template1', async (client) => {
          await client.query(`DROP DATABASE IF EXISTS ${quoteIdent(name)}`);
          await client.query(
            `CREATE DATABASE ${quoteIdent(name)} TEMPLATE template0 ENCODING ${quoteLiteral(dumped.encoding)} LC_COLLATE 'C' LC_CTYPE 'C'`,
          );
        });
        outcome = await restore(name, dumped, true, uncomputed);
      }
      if (outcome.code !== 0) return [`${JSON.stringify(name)} was not restored: ${explain(outcome)}`];
      const sameVersion = tools.major === majorOf(manifest.versions.server);
      return inSession(address, name, async (client) => {
        const found = await propertiesOf(client);
        differing.push(...otherVersions(name, dumped, found.extensions));
        const sequences = await sequencesOf(client);
        return [
          ...(byDump ? otherProperties(name, dumped, found) : []),
          ...differences(name, dumped, await contentOf(client, dumped.row_hash), { sequences, sameVersion }),
        ];
      });
    },
  };
}

/** Owner and settings of a database that the dump itself made. */
function otherProperties(
  name: string,
  dumped: DumpedDatabase,
  found: Pick<DumpedDatabase, 'owner' | 'encoding' | 'settings'>,
): string[] {
  return (['owner', 'encoding', 'settings'] as const)
    .filter((what) => String(found[what]) !== String(dumped[what]))
    .map(
      (what) => `${JSON.stringify(name)}: its ${what}: ${found[what] || 'none'} instead of ${dumped[what] || 'none'}`,
    );
}

/** Extensions are restored in the version that the machine has. */
function otherVersions(name: string, { extensions }: DumpedDatabase, found: Record<string, string>): string[] {
  return Object.entries(extensions)
    .filter(([extension, version]) => found[extension] !== undefined && found[extension] !== version)
    .map(
      ([extension, version]) =>
        `${JSON.stringify(name)} was restored with ${extension} ${found[extension]}, not ${version}`,
    );
}

/** Locales have other names on other systems (en_US.utf8, en_US.UTF-8), and may not be installed. */
const UNKNOWN_LOCALE = /invalid (LC_COLLATE |LC_CTYPE )?locale name|could not create locale|could not open collator/i;

/** @throws HomelabError where it was this machine's disk and not the set */
function explain(outcome: Outcome): string {
  const lines = discreetOutput((outcome.stderr || outcome.stdout).trim()).split('\n');
  const first = Math.max(
    lines.findIndex((line) => /\berror:/i.test(line)),
    0,
  );
  const output = lines.slice(first, first + 8).join('\n');
  const space = spaceFix(outcome.stderr);
  if (space.fix)
    throw new HomelabError('the throw-away server ran out of disk; the set was not judged', { ...space, output });
  return output;
}
