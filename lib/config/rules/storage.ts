import { CronPattern } from 'croner';
import { suggestion } from '../../suggest.ts';
import type { ConfigProblem } from '../load.ts';
import type { Config, NasExport } from '../schema.ts';

type Path = (string | number)[];

/** Exports and who may mount them, StorageClasses, and where the backup goes. */
export function storageProblems(config: Config): ConfigProblem[] {
  return [...proxmoxExports(config), ...storageClasses(config), ...backup(config)];
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
  const { target, schedule } = config.backup;
  const problems = findExport(config, target.export, ['backup', 'target', 'export']).problems;
  try {
    // What cron and Kubernetes know; croner knows more (L, W, #).
    if (!/^[0-9a-z*/, -]+$/i.test(schedule)) throw new Error('only digits, names, "*", "/", "," and "-" are known');
    new CronPattern(schedule, undefined, { mode: '5-part' });
  } catch (error) {
    const reason = (error as Error).message.replace(/^CronPattern: /, '');
    problems.push({
      path: ['backup', 'schedule'],
      message: `"${schedule}" is not a time of cron: ${reason}`,
      fix: 'write minute, hour, day of month, month and day of week, such as "0 3 * * *"',
    });
  }
  return problems;
}

/** An export that exists, and that all nodes of the group may mount. */
function exportFor(config: Config, reference: string, group: 'proxmox' | 'k3s', path: Path): ConfigProblem[] {
  const { found, problems } = findExport(config, reference, path);
  if (!found || found.clients.includes(group)) return problems;
  const nodes = group === 'k3s' ? config.k3s.nodes : config.proxmox.nodes;
  const denied = nodes.map(({ name }) => name).filter((name) => !found.clients.includes(name));
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
