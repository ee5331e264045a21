import { titleOf } from '../kube-object.ts';
import { dig, type Loose, mapsIn, textOf } from '../loose.ts';
import type { KubeObject } from '../step.ts';
import type { ConventionProblem, Conventions, Placed } from './convention-problem.ts';

/** Programs whose data wants a local disk: fsync over NFS is slow, and their locks do not survive it. */
const DATABASES =
  /(^|[-_/])(postgres(ql)?|timescaledb|pgvector|postgis|mysql|mariadb|percona|mongo(db)?|redis|valkey|keydb|clickhouse|influxdb|etcd|cassandra|couchdb|neo4j|rethinkdb)([-_]|$)/;
/** What only talks to a database has one in its name too. */
const NO_DATABASES = /exporter|operator|backup|client|proxy|pgbouncer|pgadmin|commander|insight|express|admin/;

type Workload = Placed & { database: boolean; lasting: boolean; volumes: Loose[]; templates: Loose[] };

/** Databases off the local disk, application data on it, temporary folders without a limit. */
export function storageProblems(placed: readonly Placed[], conventions: Conventions): ConventionProblem[] {
  const workloads = placed.flatMap(workloadOf);
  const usedBy = new Map<string, Workload[]>();
  for (const workload of workloads.filter(({ lasting }) => lasting))
    for (const name of claimNames(workload)) {
      const key = keyOf(workload.object, name);
      usedBy.set(key, [...(usedBy.get(key) ?? []), workload]);
    }
  const claims = placed.filter(({ object }) => object.kind === 'PersistentVolumeClaim');
  return [
    ...workloads.flatMap(emptyDirProblems),
    ...workloads.flatMap((workload) =>
      workload.templates.flatMap((template) => {
        const name = textOf(dig(template, 'metadata', 'name')) ?? '';
        return claimProblems(workload, `claim ${name}`, template.spec, workload.database, conventions);
      }),
    ),
    ...claims.flatMap((claim) => {
      const users = usedBy.get(keyOf(claim.object, claim.object.metadata.name));
      const database = users?.some((user) => user.database);
      return claimProblems(claim, 'it', claim.object.spec, database, conventions);
    }),
  ];
}

/** @param database whether a database uses it; undefined when nobody does */
function claimProblems(
  { place, object }: Placed,
  title: string,
  spec: unknown,
  database: boolean | undefined,
  { storage_classes }: Conventions,
): ConventionProblem[] {
  const known = storage_classes.map((each) => each.name);
  const local = storage_classes.filter((each) => !each.export).map((each) => each.name);
  const network = storage_classes.filter((each) => each.export).map((each) => each.name);
  const named = dig(spec, 'storageClassName');
  const name = named === undefined ? storage_classes.find((each) => each.default)?.name : String(named);
  const problem = (level: ConventionProblem['level'], message: string, fix: string): ConventionProblem[] => [
    { level, place, object: titleOf(object), message: `${title} ${message}`, fix },
  ];
  if (!name) return []; // an empty class: bound to a volume by hand
  if (!known.includes(name))
    return problem(
      'warning',
      `uses the StorageClass ${name}, which homelab.yaml does not name`,
      `use ${known.join(' or ')}`,
    );
  if (database && network.includes(name))
    return problem('error', `keeps a database on ${name}`, `use ${local.join(' or ')}: fast I/O; backups make it safe`);
  if (database === false && local.includes(name) && network.length > 0)
    return problem(
      'warning',
      `keeps application data on ${name}${named === undefined ? ', the default' : ''}: it is lost with its node`,
      `use ${network.join(' or ')}`,
    );
  return [];
}

function emptyDirProblems({ place, object, volumes }: Workload): ConventionProblem[] {
  return volumes
    .filter((volume) => 'emptyDir' in volume && dig(volume.emptyDir, 'sizeLimit') === undefined)
    .map((volume) => ({
      level: 'error',
      place,
      object: titleOf(object),
      message: `the emptyDir ${textOf(volume.name) ?? ''} has no sizeLimit: it can fill its node's disk`,
      fix: 'set emptyDir.sizeLimit; use a claim for what must survive a restart',
    }));
}

function claimNames({ volumes }: Workload): string[] {
  return volumes.flatMap((volume) => textOf(dig(volume, 'persistentVolumeClaim', 'claimName')) ?? []);
}

/** Pods and what makes them, with their volumes and claim templates. */
function workloadOf({ place, object }: Placed): Workload[] {
  const { spec, kind } = object;
  const template = kind === 'CronJob' ? dig(spec, 'jobTemplate', 'spec', 'template') : dig(spec, 'template');
  const pod = kind === 'Pod' ? spec : dig(template, 'spec');
  const containers = mapsIn(dig(pod, 'containers'));
  if (containers.length === 0) return [];
  // A job with a database's image dumps or restores: what it writes belongs on the network.
  const lasting = !['Job', 'CronJob'].includes(kind);
  return [
    {
      place,
      object,
      lasting,
      database: lasting && containers.some(({ image }) => isDatabase(textOf(image) ?? '')),
      volumes: mapsIn(dig(pod, 'volumes')),
      templates: mapsIn(dig(spec, 'volumeClaimTemplates')),
    },
  ];
}

/** Whether an image is a database's: by the last part of its name, without registry, tag and digest. */
export function isDatabase(image: string): boolean {
  const name = (image.split('@')[0] ?? '').split('/').at(-1)?.split(':')[0]?.toLowerCase() ?? '';
  return DATABASES.test(name) && !NO_DATABASES.test(name);
}

function keyOf(object: KubeObject, name: string): string {
  return `${object.metadata.namespace ?? 'default'}/${name}`;
}
