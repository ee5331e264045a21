import { spelled } from '../lib/backup/names.ts';
import { postgresPassword } from '../lib/config/env.ts';
import { lazily } from '../lib/lazy.ts';
import { defineScript, type Script } from '../lib/main.ts';
import { chosenFor, planRestore, type RestoreArgs, type SeenRestore } from '../lib/plan/restore.ts';

const script: Script<SeenRestore, RestoreArgs> = {
  name: 'restore-postgres',
  summary: 'Restores databases from a proven set into fresh ones, compares, and puts them in place',
  description:
    'Nothing is dropped or overwritten. A restored database takes its name where the server has no such database, or an\n' +
    'empty one; where there is data it stays beside it, or, with --swap, takes its name in one transaction, and the old\n' +
    'one is kept as <database>_before_<time>.\n\n' +
    'After a server was made anew (the first says whose backups there are, the second takes them):\n' +
    '  restore-postgres --server main --all\n' +
    '  restore-postgres --server main --all --of 7512345678901\n\n' +
    'One database as it was, beside the one of now; then in its place:\n' +
    '  restore-postgres --server main --database app\n' +
    '  restore-postgres --server main --database app --swap',
  arguments: [{ name: '[set]', description: 'a name that `backup-postgres list` shows (default: the newest proven)' }],
  options: [
    { flags: '--server <name>', description: 'a server of backup.postgresql (default: the only one)' },
    {
      flags: '--database <name>',
      description: 'a database, by its exact name (may be given several times)',
      parse: (text, before) => [...(Array.isArray(before) ? before : []), text],
    },
    { flags: '--all', description: 'every database of the set', default: false },
    { flags: '--swap', description: 'put it in the place of a database with data, which is kept', default: false },
    {
      flags: '--of <identifier>',
      description: 'take a set of the server with this system identifier, not of this one',
    },
    {
      flags: '--unproven',
      description: 'take also a set that was never proven, where its hashes are right',
      default: false,
    },
    {
      flags: '--from <target>',
      description: 'which target: first, or second (the copies); default: first',
      choices: ['first', 'second'],
    },
    { flags: '--identity <file>', description: 'secret key of age (from age-keygen), for a set that is encrypted' },
  ],
  secrets: ({ backup }, { server }) =>
    (backup?.postgresql ?? [])
      .filter(({ name }, _at, all) => (server === undefined ? all.length === 1 : name === server))
      .map(({ name }) => postgresPassword(name)),
  lock: 'none',
  afterFailure: 'correct the cause and run it again: it restores anew; what this run has left is listed then',
  ...lazily<SeenRestore, RestoreArgs>({
    observe: async () => (await import('../lib/observe/restore.ts')).observeRestore,
    plan: async () => (_lab, seen, args) => planRestore(seen, args),
    operations: async () => (await import('../lib/operations/restore.ts')).restoreOperations,
    verify: async () => (await import('../lib/verify/restore.ts')).verifyRestore,
  }),
  report: (_lab, seen, args, applied) => {
    const chosen = chosenFor(seen, args);
    if (!chosen || applied.length === 0) return undefined;
    const { lines, data } = reported(chosen.all, (id) =>
      applied.some((step) => step.id === `${seen.servers[0]?.name}/${id}` && step.outcome === 'done'),
    );
    return { text: lines.join('\n'), data };
  },
};

/** What became of each database. */
function reported(all: NonNullable<ReturnType<typeof chosenFor>>['all'], done: (id: string) => boolean) {
  const data = all.map(({ database, into, before, over }) => {
    const id = spelled(database);
    const placed = done(`${id}/place`);
    const restored = placed ? database : done(`${id}/compare`) ? into : null;
    return { database, restored, before: placed && over !== 'nothing' ? before : null };
  });
  const lines = data.map(({ database, restored, before }) => {
    if (restored === null) return `${spelled(database)}: not restored`;
    if (restored !== database) return `${spelled(database)}: restored into ${spelled(restored)}`;
    return `${spelled(database)}: is the restored one${before ? `; the old one is ${spelled(before)}` : ''}`;
  });
  return { lines, data };
}

export default defineScript(import.meta.url, script);
