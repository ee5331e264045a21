import { CronPattern } from 'croner';
import { clientsOf } from '../../lookup.ts';
import { suggestion } from '../../suggest.ts';
import { CLIENT_GROUPS, type ClientGroup } from '../clients.ts';
import type { ConfigProblem } from '../load.ts';
import type { Config, NasExport, PostgresServer } from '../schema.ts';
import { encryptionProblems, isWithin, secondTargetProblems } from './backup-targets.ts';

type Path = (string | number)[];

/** Exports and who may mount them, StorageClasses, and where backups and snapshots go. */
export function storageProblems(config: Config): ConfigProblem[] {
  return [...proxmoxExports(config), ...storageClasses(config), ...backup(config), ...etcdSnapshots(config)];
}

function proxmoxExports(config: Config): ConfigProblem[] {
  return config.proxmox.storages.flatMap(({ export: reference }, i) =>
    reference === undefined ? [] : exportFor(config, reference, 'proxmox', ['proxmox', 'storages', i, 'export']),
  );
}

function storageClasses(config: Config): ConfigProblem[] {
  const classes = config.storage_classes;
  const defaults = classes.filter((one) => one.default).map((one) => one.name);
  const problems: ConfigProblem[] = [];
  if (defaults.length !== 1)
    problems.push({
      path: ['storage_classes'],
      message: `${defaults.length === 0 ? 'no class is' : `${defaults.join(' and ')} are`} the default`,
      fix: 'write `default: true` for exactly one, which a claim without a class gets',
    });
  for (const [i, { name, export: reference, csi_driver_nfs, path }] of classes.entries()) {
    const at: Path = ['storage_classes', i];
    if (reference !== undefined) {
      problems.push(...exportFor(config, reference, 'k3s', [...at, 'export']), ...folderPattern(path, [...at, 'path']));
      if (csi_driver_nfs === undefined)
        problems.push({
          path: [...at, 'csi_driver_nfs'],
          message: `is missing: ${name} is on NFS`,
          fix: 'add the version of csi-driver-nfs, such as 4.13.4',
        });
    } else if (name !== 'local-path')
      problems.push({
        path: [...at, 'export'],
        message: `is missing: only local-path, which K3s brings, needs none`,
        fix: `add the export that ${name} is on, such as unas/K3sStorage`,
      });
  }
  return problems;
}

const PLACEHOLDERS = ['namespace', 'pvc-name'];

/** Two claims must never get the same folder. */
function folderPattern(pattern: string, path: Path): ConfigProblem[] {
  const used = [...pattern.matchAll(/\{([^}]*)\}/g)].map(([, name = '']) => name);
  const unknown = used.filter((name) => !PLACEHOLDERS.includes(name));
  const missing = PLACEHOLDERS.filter((name) => !used.includes(name));
  return [
    ...unknown.map((name) => ({
      path,
      message: `there is no placeholder {${name}}`,
      fix: suggestion(name, PLACEHOLDERS),
    })),
    ...(unknown.length === 0 && missing.length > 0
      ? [
          {
            path,
            message: `"${pattern}" has no {${missing.join('} and no {')}}: two claims would share a folder`,
            fix: 'write "{namespace}-{pvc-name}"',
          },
        ]
      : []),
  ];
}

function backup(config: Config): ConfigProblem[] {
  if (!config.backup) return [];
  const { target, second_target: second, schedule } = config.backup;
  const at: Path = ['backup', 'second_target', 'export'];
  return [
    ...findExport(config, target.export, ['backup', 'target', 'export']).problems,
    ...(second?.export === undefined ? [] : findExport(config, second.export, at).problems),
    ...secondTargetProblems(config.backup),
    ...encryptionProblems(config.backup),
    ...timeOfCron(schedule, ['backup', 'schedule']),
    ...cronJob(config),
    ...config.backup.postgresql.flatMap((server, i) => postgresServer(server, ['backup', 'postgresql', i])),
  ];
}

/** Kubernetes' limit for the name of a CronJob, less what stands before a server's. */
const LONGEST_SERVER = 52 - 'backup-'.length;

/** What runs in the cluster mounts the target from a node of it. */
function cronJob(config: Config): ConfigProblem[] {
  const { cronjob, target, postgresql } = config.backup ?? {};
  if (!cronjob || !target) return [];
  const { found } = findExport(config, target.export, []);
  const clients = clientsOf(config, found?.clients ?? []);
  const may = config.k3s.nodes.some(({ name }) => clients.includes(name));
  return [
    ...(found && !may
      ? [
          {
            path: ['backup', 'target', 'export'],
            message: `${target.export} may not be mounted by any K3s node (its clients: ${found.clients.join(', ')}), and backup.cronjob runs on one`,
            fix: 'add k3s, or some of its nodes, to its clients',
          },
        ]
      : []),
    ...(postgresql ?? []).flatMap(({ name }, i) =>
      name.length <= LONGEST_SERVER
        ? []
        : [
            {
              path: ['backup', 'postgresql', i, 'name'],
              message: `"${name}" is too long for the name of a CronJob (at most ${LONGEST_SERVER} characters)`,
              fix: 'give it a shorter name; its sets so far keep the old one',
            },
          ],
    ),
  ];
}

/** One way to a server, one way to choose its databases, and no setting for a database that is not dumped. */
function postgresServer(server: PostgresServer, path: Path): ConfigProblem[] {
  const { name, host, namespace, service, include, exclude, databases } = server;
  const problems: ConfigProblem[] = [];
  const inCluster = namespace !== undefined || service !== undefined;
  if (host !== undefined && inCluster)
    problems.push({
      path: [...path, 'host'],
      message: `${name} has a host, and a ${namespace === undefined ? 'service' : 'namespace'} too`,
      fix: 'keep host for a server that is reached by TCP, or namespace and service for one of the cluster',
    });
  else if (host === undefined && (namespace === undefined || service === undefined))
    problems.push({
      path,
      message: `how ${name} is reached is missing: ${inCluster ? `${namespace === undefined ? 'namespace' : 'service'}` : 'host, or namespace and service'}`,
      fix: 'add host for a server that is reached by TCP, or namespace and service for one of the cluster',
    });
  if (include && exclude.length > 0)
    problems.push({
      path: [...path, 'exclude'],
      message: `${name} has include and exclude`,
      fix: 'keep one: include names the only databases that are dumped, exclude those that are not',
    });
  for (const database of Object.keys(databases)) {
    const left = include ? !include.includes(database) : exclude.includes(database);
    if (left)
      problems.push({
        path: [...path, 'databases', database],
        message: `"${database}" is ${include ? 'not under include' : 'under exclude'}, and so not dumped`,
        fix: include ? suggestion(database, include) : 'take it out of one of them',
      });
  }
  return problems;
}

/** Every server writes there; and what prunes one folder must not meet the files of another. */
function etcdSnapshots(config: Config): ConfigProblem[] {
  const { etcd_snapshots: snapshots } = config.k3s;
  if (!snapshots) return [];
  const at = (key: string): Path => ['k3s', 'etcd_snapshots', key];
  const targets = [
    { ...config.backup?.target, key: 'target' },
    { ...config.backup?.second_target, key: 'second_target' },
  ];
  const shared = targets.filter(
    (target) => target.export === snapshots.export && isWithin(snapshots.path, target.path ?? ''),
  );
  return [
    ...exportFor(config, snapshots.export, 'k3s-servers', at('export')),
    ...timeOfCron(snapshots.schedule, at('schedule')),
    ...shared.map(({ key, path }) => ({
      path: at('path'),
      message: `"${snapshots.path}" and backup.${key}.path "${path}" of ${snapshots.export} are the same folder, or one lies in the other`,
      fix: 'give each a folder of its own',
    })),
  ];
}

/** What cron and Kubernetes know; croner knows more (L, W, #). */
function timeOfCron(schedule: string, path: Path): ConfigProblem[] {
  try {
    if (!/^[0-9a-z*/, -]+$/i.test(schedule)) throw new Error('only digits, names, "*", "/", "," and "-" are known');
    new CronPattern(schedule, undefined, { mode: '5-part' });
    return [];
  } catch (error) {
    const reason = (error as Error).message.replace(/^CronPattern: /, '');
    return [
      {
        path,
        message: `"${schedule}" is not a time of cron: ${reason}`,
        fix: 'write minute, hour, day of month, month and day of week, such as "0 3 * * *"',
      },
    ];
  }
}

/** An export that exists, and that all hosts of the group may mount. */
function exportFor(config: Config, reference: string, group: ClientGroup, path: Path): ConfigProblem[] {
  const { found, problems } = findExport(config, reference, path);
  if (!found) return problems;
  const may = clientsOf(config, found.clients);
  const denied = CLIENT_GROUPS[group].of(config).filter((name) => !may.includes(name));
  if (denied.length === 0) return problems;
  return [
    {
      path,
      message: `${reference} may not be mounted by ${denied.join(', ')} (its clients: ${found.clients.join(', ')})`,
      fix: `take an export for ${group}, or add ${group} to its clients`,
    },
  ];
}

function findExport({ nas }: Config, reference: string, path: Path): { found?: NasExport; problems: ConfigProblem[] } {
  const all = new Map(
    nas.flatMap((one) => one.exports.map((found): [string, NasExport] => [`${one.name}/${found.name}`, found])),
  );
  const found = all.get(reference);
  if (found) return { found, problems: [] };
  return { problems: [{ path, message: `there is no export "${reference}"`, fix: suggestion(reference, all.keys()) }] };
}
