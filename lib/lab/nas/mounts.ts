import { existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
import { stored } from '../hosts/programs/common.ts';
import type { HostMount, RunningHost } from '../hosts/spec.ts';

/**
 * Puts a folder in the place of a mount point: a link in the host's root, and an entry by which later commands'
 * paths lead there. What lay in the mount point is covered, and comes back with `unmountFolder`.
 */
export function mountFolder(host: RunningHost, mount: HostMount): void {
  const point = join(host.root, mount.point);
  if (readdirSync(point).length > 0) renameSync(point, coveredBy(host, mount.point));
  else rmSync(point, { recursive: true });
  symlinkSync(mount.folder, point);
  host.mounts.push(mount);
  remember(host);
}

export function unmountFolder(host: RunningHost, mount: HostMount): void {
  uncover(host, mount.point);
  host.mounts.splice(host.mounts.indexOf(mount), 1);
  remember(host);
}

/** After a boot nothing is mounted, whatever was before. */
export function clearMounts(host: RunningHost): void {
  for (const point of stored<string[]>(host, 'mounts', []).value.reverse()) uncover(host, point);
  remember(host);
}

function uncover(host: RunningHost, mountPoint: string): void {
  const point = join(host.root, mountPoint);
  if (!lstatSync(point, { throwIfNoEntry: false })?.isSymbolicLink()) return;
  rmSync(point);
  const covered = coveredBy(host, mountPoint);
  if (existsSync(covered)) renameSync(covered, point);
  else mkdirSync(point);
}

function remember(host: RunningHost): void {
  const points = stored<string[]>(host, 'mounts', []);
  points.value = host.mounts.map(({ point }) => point);
  points.save();
}

function coveredBy(host: RunningHost, point: string): string {
  const folder = join(host.folder, 'covered');
  mkdirSync(folder, { recursive: true });
  return join(folder, encodeURIComponent(point));
}
