import { postgresPassword } from '../lib/config/env.ts';
import { lazily } from '../lib/lazy.ts';
import { defineScript, type Script } from '../lib/main.ts';
import { planRestore, type RestoreArgs, restoreNames, type SeenRestore } from '../lib/plan/restore.ts';

const script: Script<SeenRestore, RestoreArgs> = {
  name: 'restore-postgres',
  summary: 'Restores a database from a proven set into a fresh one, compares, and swaps when wanted',
  description:
    'Nothing is dropped or overwritten. With --swap the restored database takes the old one’s name in one transaction,\n' +
    'and the old one is kept as <database>_before_<time>.',
  arguments: [{ name: '[set]', description: 'a name that `backup-postgres list` shows (default: the newest proven)' }],
  options: [
    { flags: '--server <name>', description: 'a server of backup.postgresql', required: true },
    { flags: '--database <name>', description: 'the database, by its exact name', required: true },
    { flags: '--swap', description: 'give the restored database the name of the old one', default: false },
    { flags: '--system-identifier <id>', description: 'that of the server, which --swap asks for' },
  ],
  secrets: ({ backup }, { server }) =>
    backup?.postgresql.some(({ name }) => name === server) ? [postgresPassword(server)] : [],
  lock: 'none',
  ...lazily<SeenRestore, RestoreArgs>({
    observe: async () => (await import('../lib/observe/restore.ts')).observeRestore,
    plan: async () => (_lab, seen, args) => planRestore(seen, args),
    operations: async () => (await import('../lib/operations/restore.ts')).restoreOperations,
  }),
  report: (_lab, seen, { database, swap }, applied) => {
    const { into, before } = restoreNames(database, seen);
    if (applied.length === 0) return undefined;
    const text = swap ? `${database} is the restored one; the old one is ${before}` : `restored into ${into}`;
    return { text, data: { database, restored: swap ? database : into, before: swap ? before : null } };
  },
};

export default defineScript(import.meta.url, script);
