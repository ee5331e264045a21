import { execFileSync, spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { nodeArgv, SOURCE_MAPS } from '../node-argv.ts';

/** Programs that the hosts are made of, beside those of any Debian. */
const PROGRAMS = ['unshare', 'nsenter', 'ip', 'nft', 'perl', 'sudo', 'busybox', 'socat', '/usr/sbin/sshd'];
const INSIDE = 'HOMELAB_TEST_NAMESPACES';

/**
 * Runs a test file in namespaces of its own (network, mounts, processes), from which no route leads out and with which
 * everything ends that was started in them: the first call starts the file again inside, and does not return.
 * @returns inside: undefined; where namespaces are not to be had: why
 */
export function enterNamespaces(url: string): string | undefined {
  if (process.env[INSIDE]) {
    prepare();
    return undefined;
  }
  const missing = obstacle();
  if (missing) return missing;
  const [node = '', ...file] = nodeArgv(fileURLToPath(url));
  const again = [node, ...process.execArgv.filter((flag) => flag === SOURCE_MAPS), ...file];
  // A shell as the first process: it collects what nobody waits for.
  const argv = [
    '--net',
    '--mount',
    '--pid',
    '--fork',
    '--kill-child',
    '--mount-proc',
    'sh',
    '-c',
    '"$@"; exit $?',
    'sh',
  ];
  const { status } = spawnSync('unshare', [...argv, ...again], {
    stdio: 'inherit',
    env: { ...process.env, [INSIDE]: '1' },
  });
  process.exit(status ?? 1);
}

function obstacle(): string | undefined {
  if (process.platform !== 'linux') return 'namespaces are a thing of Linux';
  if (process.getuid?.() !== 0) return 'namespaces with several users in them need root';
  const missing = PROGRAMS.filter((name) => spawnSync('sh', ['-c', 'command -v "$1"', 'sh', name]).status !== 0);
  if (missing.length > 0) return `not installed: ${missing.join(', ')}`;
  const script =
    'mount -t tmpfs t /run && mkdir /run/l /run/u /run/w /run/m && ip link set lo up && ip link add name probe type bridge &&' +
    ' mount -t overlay o -o lowerdir=/run/l,upperdir=/run/u,workdir=/run/w /run/m';
  const { status, stderr } = spawnSync('unshare', ['--net', '--mount', 'sh', '-c', script], { encoding: 'utf8' });
  return status === 0 ? undefined : `namespaces are not permitted here: ${stderr.trim()}`;
}

/** Inside: loopback, and a /run that nobody else sees. */
function prepare(): void {
  execFileSync('sh', [
    '-c',
    'mount -t tmpfs -o mode=0755 tmpfs /run && mkdir -p /run/netns /run/sshd /run/lab && ip link set lo up',
  ]);
}

/** Inside: a /tmp that nobody else sees, and that ends with the test; the toolkit stays where it is, also if it lies there. */
export function ownTmp(): void {
  const folder = fileURLToPath(new URL('../../', import.meta.url));
  const script = `set -e
    mkdir /run/toolkit && mount --rbind "$1" /run/toolkit
    mount -t tmpfs -o mode=1777 tmpfs /tmp
    case $1 in /tmp/*) mkdir -p "$1" && mount --rbind /run/toolkit "$1" ;; esac`;
  execFileSync('sh', ['-c', script, 'sh', folder]);
}

type Suite = { (name: string, test: () => void): unknown; skip(name: string, test: () => void): unknown };

/**
 * Declares tests that need namespaces: inside of them `declare` is called; where they are not to be had the suite says that
 * it skips, or fails where HOMELAB_REQUIRE has `namespaces`.
 * @param also why something else that these tests need is missing
 */
export function withNamespaces(test: Suite, url: string, declare: () => void, also?: () => string | undefined): void {
  const why = enterNamespaces(url) ?? also?.();
  if (!why) {
    declare();
    return;
  }
  if ((process.env.HOMELAB_REQUIRE ?? '').split(',').includes('namespaces')) {
    test('namespaces are there', () => {
      throw new Error(`HOMELAB_REQUIRE has namespaces: ${why}`);
    });
    return;
  }
  console.error(`skipped: ${why}`);
  test.skip(why, () => {});
}
