import { join } from 'node:path';
import type { LabCluster } from './cluster/index.ts';
import type { EndpointFile } from './endpoint-file.ts';
import { type ScratchPostgres, startScratchPostgres } from './postgres.ts';
import type { Workspace } from './workspace.ts';

/** The database that a rehearsal restores. */
export const SAMPLE_DATABASE = 'app';

/** Real PostgreSQL servers behind the Services of backup.postgresql. */
export type Databases = {
  /** Starts them with data that is hard to back up. Nothing where this machine has no PostgreSQL. */
  start(): Promise<void>;
  close(): Promise<void>;
};

/** The servers of a rehearsal; none runs yet. */
export function labDatabases(
  { config, folder, postgresPasswords }: Workspace,
  cluster: LabCluster,
  endpoints: EndpointFile,
): Databases {
  const running: ScratchPostgres[] = [];
  return {
    start: async () => {
      for (const { name, host, port, namespace, service } of config.backup?.postgresql ?? []) {
        const server = await startScratchPostgres(join(folder, 'postgresql', name), {
          password: postgresPasswords[name],
        });
        if ('missing' in server) return;
        running.push(server);
        await server.seed();
        if (host !== undefined) endpoints.set(`${host}:${port}`, `127.0.0.1:${server.port}`);
        else cluster.setBackend(`${namespace}/${service}`, { host: '127.0.0.1', port: server.port });
      }
    },
    close: async () => {
      await Promise.all(running.map((server) => server.stop()));
    },
  };
}
