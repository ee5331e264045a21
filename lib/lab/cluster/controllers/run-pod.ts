import { spawn } from 'node:child_process';
import { itemsAt, type Thing, textAt, valueAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { CHART_LABEL, install } from './helm-install.ts';
import { foldersOf } from './volumes.ts';

/** Seconds that a command of a pod may take. */
const LONGEST = 20;

/**
 * What a pod that ends does. One of helm's installs its chart. One whose command is `sh -c` is run for real when
 * all paths in it lie in its volumes, which folders stand for here; every other ends well, and says so in its log.
 */
export async function runToEnd(cluster: Cluster, pod: Thing): Promise<{ code: number; log: string }> {
  const chart = pod.metadata.labels?.[CHART_LABEL];
  if (chart !== undefined) return install(cluster, pod, chart);
  let log = '';
  for (const container of itemsAt(pod, 'spec.containers')) {
    const result = await runContainer(cluster, pod, container);
    log += result.log;
    if (result.code !== 0) return { code: result.code, log };
  }
  return { code: 0, log };
}

async function runContainer(cluster: Cluster, pod: Thing, container: unknown): Promise<{ code: number; log: string }> {
  const folders = foldersOf(cluster, pod, container);
  const words = [...array(container, 'command'), ...array(container, 'args')];
  const [shell = '', option = '', text] = words;
  const script = /(^|\/)(sh|bash|ash)$/.test(shell) && /^-[a-z]*c$/.test(option) ? text : undefined;
  if (script === undefined || folders.size === 0 || !staysInside(script, [...folders.keys()]))
    return { code: 0, log: `emulator: ${words.join(' ') || textAt(container, 'image')} was not run\n` };
  let translated = script;
  for (const [mountPath, folder] of [...folders].sort(([a], [b]) => b.length - a.length))
    translated = translated.replaceAll(mountPath, folder);
  const env = Object.fromEntries(
    itemsAt(container, 'env').map((entry): [string, string] => {
      const value = textAt(entry, 'value');
      return [textAt(entry, 'name'), folders.get(value) ?? value];
    }),
  );
  return run(translated, [...folders.values()][0] ?? '/', {
    ...env,
    PATH: '/usr/bin:/bin',
    HOSTNAME: pod.metadata.name,
  });
}

function array(container: unknown, path: string): string[] {
  const value = valueAt(container, path);
  return Array.isArray(value) ? value.map(String) : [];
}

/** Whether every absolute path of a script is in a volume (or /dev/null). */
function staysInside(script: string, mounts: readonly string[]): boolean {
  const paths = script.match(/(?<![\w.$}/-])\/[\w./-]*/g) ?? [];
  return (
    !script.includes('..') &&
    paths.every(
      (path) => path === '/dev/null' || mounts.some((mount) => path === mount || path.startsWith(`${mount}/`)),
    )
  );
}

function run(script: string, cwd: string, env: Record<string, string>): Promise<{ code: number; log: string }> {
  return new Promise((resolve) => {
    const child = spawn('/bin/sh', ['-c', script], {
      cwd,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LONGEST * 1000,
    });
    let log = '';
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (log += chunk.toString()));
    child.on('error', (error) => resolve({ code: 127, log: `${error.message}\n` }));
    child.on('close', (code) => resolve({ code: code ?? 137, log }));
  });
}
