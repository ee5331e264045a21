import { spawnSync } from 'node:child_process';
import { homedir, tmpdir, totalmem } from 'node:os';
import { delimiter } from 'node:path';
import { TOOLKIT } from '../lib/paths.ts';

/** Memory from which on a /tmp is kept in it; the largest that a test fills is some hundred MB. */
const ENOUGH = 6 * 1024 ** 3;

/**
 * A /tmp in memory that the program sees alone, and that ends with its last process: no test meets what another one, or
 * somebody else on this machine, has there, and a PostgreSQL server's thousand files cost a tenth. What tsx has compiled is
 * shared as ever. The program replaces the shell, so that its process is the one that was started.
 */
const MOUNT = `set -e
  cache=tsx-$(id -u)
  mkdir -p "/tmp/$cache"
  mount -t tmpfs -o mode=1777 tmpfs /mnt
  mkdir "/mnt/$cache"
  mount --bind "/tmp/$cache" "/mnt/$cache"
  mount --move /mnt /tmp
  exec "$@"`;

/** What stands before a test's command, so that its /tmp is its own; nothing where that cannot be. */
export function privateTmp(): string[] {
  // Only root may mount; and what a test needs must not be in the /tmp that it cannot see.
  if (process.platform !== 'linux' || process.getuid?.() !== 0 || tmpdir() !== '/tmp' || totalmem() < ENOUGH) return [];
  const needed = [TOOLKIT, process.cwd(), process.execPath, homedir(), ...(process.env.PATH ?? '').split(delimiter)];
  const given = [process.env.KUBEBUILDER_ASSETS, process.env.HOMELAB_POSTGRES_VERSIONS, process.env.XDG_CACHE_HOME];
  if ([...needed, ...given].some((path) => path?.startsWith('/tmp/'))) return [];
  const argv = ['unshare', '--mount', 'sh', '-c', MOUNT, 'sh'];
  const { status } = spawnSync(argv[0] ?? '', [...argv.slice(1), 'true'], { stdio: 'ignore' });
  return status === 0 ? argv : [];
}
