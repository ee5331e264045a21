import { readFileSync } from 'node:fs';

/**
 * Whether a process of this machine runs. One that has ended and was not yet collected by its parent (a zombie,
 * which some containers keep for long) does not.
 */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'; // it is there, and somebody else's
  }
  return !isZombie(pid);
}

/** Linux tells in /proc/PID/stat, after the name in brackets; elsewhere init collects at once. */
function isZombie(pid: number): boolean {
  try {
    return /^.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}
