import { z } from 'zod';
import { type Backup, type Config, configSchema } from '../config/schema.ts';
import { isMap } from '../loose.ts';
import type { BackupLab } from './target.ts';

/**
 * What a pod is told of homelab.yaml: as little as the engine needs, in the same form and checked by the same
 * schema, where it is written and where it is read. No secrets, and nothing of the pod's own file system.
 */
const podConfig = configSchema.pick({ name: true, search_domain: true, nas: true, backup: true }).required();
export type PodConfig = z.output<typeof podConfig>;

/** @param requireNfs false in a rehearsal, whose exports are folders */
export function podConfigText(config: Config, backup: Backup, requireNfs: boolean): string {
  const wanted = exportsOf(backup);
  const nas = config.nas.flatMap(({ exports, ...one }) => {
    const kept = exports.filter(({ name }) => wanted.includes(`${one.name}/${name}`));
    return kept.length > 0 ? [{ ...one, exports: kept.map(({ mount: _, ...each }) => each) }] : [];
  });
  const disks = disksOf(backup);
  const parts = Object.entries<unknown>(backup).filter(([key]) => key !== 'cronjob' && !disks.includes(key));
  const reached = parts.map(([key, part]) => [
    key,
    isTarget(part) && !requireNfs ? { ...part, require_nfs: false } : part,
  ]);
  const reduced = {
    ...{ name: config.name, search_domain: config.search_domain, nas },
    backup: { ...Object.fromEntries(reached), postgresql: backup.postgresql.map(inCluster) },
  };
  return `${JSON.stringify(podConfig.parse(reduced), null, 1)}\n`;
}

/** @returns what the text says, or what is wrong with it */
export function parsePodConfig(text: string): PodConfig | { wrong: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { wrong: 'it is not JSON' };
  }
  const result = podConfig.safeParse(value);
  return result.success ? result.data : { wrong: z.prettifyError(result.error) };
}

/** The lab as the engine sees it from a pod. @param mounts where exports are mounted there, by "nas/export" */
export function podLab(config: PodConfig, mounts: ReadonlyMap<string, string>, state: string): BackupLab {
  const nas = config.nas.map(({ exports, ...one }) => ({
    ...one,
    exports: exports.map((each) => ({ ...each, mount: mounts.get(`${one.name}/${each.name}`) })),
  }));
  return { config: { ...config, nas }, paths: { state } };
}

/** The exports that a backup writes to, as "nas/export": of every part of it that names one. */
export function exportsOf(backup: Backup): string[] {
  return [...new Set(Object.values<unknown>(backup).flatMap((part) => (isTarget(part) ? [part.export] : [])))];
}

/** Parts that are a disk of a machine: no pod has it. */
export function disksOf(backup: Backup): string[] {
  return Object.entries<unknown>(backup).flatMap(([key, part]) =>
    isMap(part) && typeof part.folder === 'string' ? [key] : [],
  );
}

function isTarget(part: unknown): part is { export: string } {
  return isMap(part) && typeof part.export === 'string';
}

/** A pod needs no tunnel: the cluster's DNS knows the Service. */
function inCluster({ namespace, service, ...server }: Backup['postgresql'][number]): object {
  return { ...server, host: server.host ?? `${service}.${namespace}.svc` };
}
