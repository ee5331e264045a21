import type { Answer, Outcome } from '../ports/types.ts';
import { CODES } from './nfs-errand.ts';

/** Why an errand went wrong, where that is known: what is true of the NAS, or of the export, is said once. */
export type Trouble = 'silent' | 'missing' | 'denied' | 'open' | 'readonly' | 'stale' | 'unmounted';
export type Judgement = { ok: boolean; detail: string; trouble?: Trouble };

const SILENT =
  /timed out|no answer within|no route to host|connection refused|network is unreachable|host is down|input\/output error/i;
const STALE = /stale (nfs )?file handle/i;
/** What a server says that was mounted from, and whose folder is not there: dash has words of its own for it. */
const GONE = /no such file or directory|directory nonexistent/i;

/**
 * What an allowed host's errand came to.
 * @param address the host's, as the NAS sees it
 */
export function judgeAllowed(answer: Answer<Outcome>, path: string, address: string): Judgement {
  if (!answer.ok) return { ok: false, detail: `not proven: ${answer.reason}` };
  const { code } = answer.value;
  const said = lastLine(answer.value);
  if (code === 0) return { ok: true, detail: 'mounted, written, read back, unmounted' };
  if (STALE.test(answer.value.stderr) || (code === CODES.write && GONE.test(said)))
    return { ok: false, trouble: 'stale', detail: stale(said) };
  if (code === CODES.mount) return judgeMount(answer.value, path, address);
  if (code === CODES.silent || (code === CODES.write && SILENT.test(said)))
    return { ok: false, trouble: 'silent', detail: `mounted, and then the NAS did not answer: ${said}` };
  const stages: Record<number, string> = {
    [CODES.mkdir]: 'not proven: no mount point could be made',
    [CODES.phantom]: 'mount said yes, and nothing is mounted: what is written there lands on the local disk',
    [CODES.write]: 'mounted, but could not write: is root squashed, or the export read-only?',
    [CODES.read]: 'mounted, but what was read is not what was written',
    [CODES.unmount]: 'mounted, but it could not be unmounted; it is detached',
  };
  return {
    ok: false,
    ...(code === CODES.phantom && { trouble: 'unmounted' }),
    ...(code === CODES.write && { trouble: 'readonly' }),
    detail: [stages[code] ?? `not proven: exit code ${code}`, said].filter(Boolean).join(': '),
  };
}

/** Why it could not be mounted. A server says "access denied" also of an export that it has not; its list tells them apart. */
function judgeMount({ stdout, ...outcome }: Outcome, path: string, address: string): Judgement {
  const said = lastLine({ ...outcome, stdout: '' });
  const no = (trouble: Trouble | undefined, detail: string): Judgement => ({ ok: false, trouble, detail });
  const list = listedExports(stdout);
  const listed = list.find((each) => each.path === path);
  if (SILENT.test(said)) return no('silent', `the NAS does not answer: ${said}`);
  if (/access denied|permission denied|no such file or directory/i.test(said)) {
    if (list.length > 0 && !listed)
      return no(
        'missing',
        `the NAS shows ${address} no export ${path} (only ${list.map((each) => each.path).join(', ')})`,
      );
    if (listed)
      return no('denied', `the NAS does not let ${address} in, only ${listed.clients.join(', ') || 'nobody'}: ${said}`);
    if (/no such file/i.test(said)) return no('missing', `the NAS has no export ${path}, or hides it from ${address}`);
    return no('denied', `the NAS has no export ${path}, or not for ${address}: ${said}`);
  }
  if (/protocol not supported|requested nfs version/i.test(said))
    return no(undefined, `the NAS does not speak the NFS version of nas[].nfs_version: ${said}`);
  if (/helper program|unknown filesystem type/.test(said))
    return no(undefined, `not proven: the NFS client (nfs-common) is not installed: ${said}`);
  return no(undefined, `could not mount: ${said}`);
}

function stale(said: string): string {
  return `stale file handle: the NAS does not find any more what it exports (its disk or folder was replaced or remounted while its NFS server ran): ${said}`;
}

/** What `showmount -e --no-headers` says: a line an export, "PATH  CLIENT,CLIENT". */
export function listedExports(text: string): { path: string; clients: string[] }[] {
  return text.split('\n').flatMap((line) => {
    const [, path, clients = ''] = /^(\/.*\S)\s+(\S+)$/.exec(line.trim()) ?? [];
    return path ? [{ path, clients: clients.split(',') }] : [];
  });
}

/**
 * Whether a host that must not mount was refused. Only the server's refusal proves it: a timeout or a client
 * without NFS would look the same when the export is wide open.
 * @param existsForOthers an allowed host has just mounted it: then "No such file or directory" is NFSv4's way
 *   of hiding an export from those who may not see it
 */
export function judgeDenied(answer: Answer<Outcome>, existsForOthers: boolean): Judgement {
  if (!answer.ok) return { ok: false, detail: `not proven: ${answer.reason}` };
  const { code } = answer.value;
  const said = lastLine(answer.value);
  if ([0, CODES.unmount, CODES.silent].includes(code))
    return { ok: false, trouble: 'open', detail: 'it could mount: the export is open to it' };
  if (code === CODES.mount && /access denied by server|permission denied/i.test(said))
    return { ok: true, detail: `refused: ${said}` };
  if (code === CODES.mount && existsForOthers && /no such file or directory/i.test(said))
    return { ok: true, detail: `refused: hidden from it (${said})` };
  const trouble = code === CODES.mount && SILENT.test(said) ? 'silent' : STALE.test(said) ? 'stale' : undefined;
  return { ok: false, trouble, detail: `not proven: ${said || `exit code ${code}`}` };
}

/** What the look for a folder, or its removal, came to. */
export function judgeFolder(answer: Answer<Outcome>): Judgement {
  if (!answer.ok) return { ok: false, detail: answer.reason };
  const { code } = answer.value;
  if (code === 0) return { ok: true, detail: '' };
  const said = lastLine(answer.value);
  if (STALE.test(said)) return { ok: false, trouble: 'stale', detail: stale(said) };
  const stages: Record<number, string> = {
    [CODES.absent]: 'the folder is not there',
    [CODES.read]: 'what the pod wrote is not in it',
    [CODES.busy]: 'the folder could not be removed',
    [CODES.phantom]: 'mount said yes, and nothing is mounted',
  };
  return { ok: false, detail: [stages[code], said].filter(Boolean).join(': ') || `exit code ${code}` };
}

/** The line that says why; umount and rmdir may have added theirs. */
function lastLine({ stderr, stdout }: Pick<Outcome, 'stderr' | 'stdout'>): string {
  const lines = (stderr.trim() || stdout.trim()).split('\n').map((line) => line.trim());
  return lines.find((line) => line.startsWith('mount')) ?? lines[0] ?? '';
}
