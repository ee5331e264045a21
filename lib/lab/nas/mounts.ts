import { existsSync, lstatSync, mkdirSync, readdirSync, readlinkSync, renameSync, rmSync, symlinkSync } from 'node:fs';
import { join } from 'node:path';
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
}

export function unmountFolder(host: RunningHost, mount: HostMount): void {
  const point = join(host.root, mount.point);
  const covered = coveredBy(host, mount.point);
  rmSync(point, { force: true });
  if (existsSync(covered)) renameSync(covered, point);
  else mkdirSync(point);
  host.mounts.splice(host.mounts.indexOf(mount), 1);
}

/** A host that was cut off without an umount has a link where its mount point was: made a folder again, as after a boot. */
export function clearMountPoint(host: RunningHost, point: string): void {
  const file = join(host.root, point);
  const link = lstatSync(file, { throwIfNoEntry: false })?.isSymbolicLink() ?? false;
  if (!link || host.mounts.some((mount) => mount.point === point) || readlinkSync(file).startsWith(`${host.root}/`))
    return;
  unlinkPoint(host, point, file);
}

function unlinkPoint(host: RunningHost, point: string, file: string): void {
  const covered = coveredBy(host, point);
  rmSync(file);
  if (existsSync(covered)) renameSync(covered, file);
  else mkdirSync(file);
}

function coveredBy(host: RunningHost, point: string): string {
  const folder = join(host.folder, 'covered');
  mkdirSync(folder, { recursive: true });
  return join(folder, encodeURIComponent(point));
}
