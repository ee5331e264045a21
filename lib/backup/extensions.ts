import type { Manifest } from './manifest.ts';

/** Extensions that a throw-away server needs for a proof: their packages, and what must be set before it starts. Pure. */

/** Debian's packages that are not named after what they hold. */
const PACKAGES: Record<string, (major: number) => string> = {
  vector: (major) => `postgresql-${major}-pgvector`,
  pg_cron: (major) => `postgresql-${major}-cron`,
  pg_partman: (major) => `postgresql-${major}-partman`,
  pg_repack: (major) => `postgresql-${major}-repack`,
  plpython3u: (major) => `postgresql-plpython3-${major}`,
  plperl: (major) => `postgresql-plperl-${major}`,
  plperlu: (major) => `postgresql-plperl-${major}`,
  pltcl: (major) => `postgresql-pltcl-${major}`,
  timescaledb: (major) => `timescaledb-2-postgresql-${major}`,
};
const POSTGIS = /^(postgis|address_standardizer)/;
/** What PostgreSQL's own sources bring; a package of its own on some systems. */
const CONTRIB = new Set(
  (
    'adminpack amcheck autoinc bloom btree_gin btree_gist citext cube dblink dict_int dict_xsyn earthdistance file_fdw fuzzystrmatch hstore ' +
    'insert_username intagg intarray isn lo ltree moddatetime old_snapshot pageinspect pg_buffercache pg_freespacemap pg_prewarm ' +
    'pg_stat_statements pg_surgery pg_trgm pg_visibility pg_walinspect pgcrypto pgrowlocks pgstattuple postgres_fdw refint seg sslinfo ' +
    'tablefunc tcn tsm_system_rows tsm_system_time unaccent uuid-ossp xml2'
  ).split(' '),
);

/** What to install for an extension, in words. */
export function packageOf(extension: string, major: number): string {
  if (POSTGIS.test(extension)) return `apt install postgresql-${major}-postgis-3`;
  if (CONTRIB.has(extension)) return `apt install postgresql-${major} postgresql-contrib`;
  const known = Object.hasOwn(PACKAGES, extension) ? PACKAGES[extension] : undefined;
  if (known) return `apt install ${known(major)}`;
  return `install its package for PostgreSQL ${major} (often postgresql-${major}-${extension.replaceAll('_', '-')})`;
}

/** Problems of the databases whose extensions are not there. @param available names of the throw-away server's */
export function missingExtensions(
  name: string,
  { extensions }: Manifest['databases'][string],
  available: ReadonlySet<string>,
  major: number,
): string[] {
  return Object.entries(extensions)
    .filter(([extension]) => !available.has(extension))
    .map(
      ([extension, version]) =>
        `${JSON.stringify(name)} needs the extension ${extension} (${version})${LACKING}: ${packageOf(extension, major)}`,
    );
}

const LACKING = ', which this machine does not have';

/** Whether a proof failed for what is missing here, which says nothing of the set. */
export function isOfThisMachine(problems: readonly string[]): boolean {
  return problems.length > 0 && problems.every((problem) => problem.includes(LACKING));
}

/** Settings of a throw-away server for extensions that must be loaded at its start. Jobs that they would run stay off. */
export function settingsFor(manifest: Manifest): Record<string, string> {
  const cron = Object.entries(manifest.databases).find(([, { extensions }]) => Object.hasOwn(extensions, 'pg_cron'));
  if (!cron) return {};
  return {
    ...{ shared_preload_libraries: 'pg_cron', 'cron.database_name': cron[0], 'cron.launch_active_jobs': 'off' },
  };
}
