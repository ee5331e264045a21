import { type Explanation, HomelabError } from '../errors.ts';
import type { PveAnswer } from './pve-request.ts';

export type PveFailure = Exclude<PveAnswer, { ok: true }>;

/** Statuses with which a proxy says that what is behind it does not answer; AnyEvent's own are 595 and up. */
const GATEWAY = new Set([502, 503, 504, 595, 596, 597, 598, 599]);

/** Whether it was not the node that answered, but something in front of it, for it. */
export function isGateway({ status }: PveFailure): boolean {
  return GATEWAY.has(status);
}

/** Whether a change may have happened although it was not answered. */
export function isLost(answer: PveFailure): boolean {
  // 595: not even the connection to the node was made.
  return 'sent' in answer ? answer.sent === 'unknown' : isGateway(answer) && answer.status !== 595;
}

const LOOK_AGAIN = 'run the same command again: it looks first, and plans what is left';

/** Why a call was not done. @param looked what was found out about a call whose answer was lost */
export function refusal(what: string, answer: PveFailure, tokenId: string, looked?: string): HomelabError {
  const message = `${what}: ${answer.message}`;
  if (isLost(answer)) {
    const cause = ['there was no answer: unknown whether it happened', looked].filter(Boolean).join('; ');
    return new HomelabError(message, { cause, fix: LOOK_AGAIN });
  }
  if ('sent' in answer || isGateway(answer))
    return new HomelabError(message, {
      cause: 'nothing was sent',
      fix: fixOf(answer, tokenId, what) ?? 'run it again when the node answers',
    });
  return new HomelabError(message, { fix: fixOf(answer, tokenId, what) });
}

/** A task of which Proxmox knows nothing any more, or says nothing. */
export function outcomeUnknown(what: string, why: string, explanation: Explanation = {}): HomelabError {
  return new HomelabError(`${what}: ${why}; its outcome is unknown`, { ...explanation, fix: LOOK_AGAIN });
}

/** What to do about an answer that is an error. @param what the call, "METHOD /path" */
export function fixOf(answer: PveFailure, tokenId: string, what = ''): string | undefined {
  const { status, message } = answer;
  if ('why' in answer && answer.why === 'certificate') return undefined;
  if (status === 401)
    return 'compare proxmox.token_id and PROXMOX_TOKEN_SECRET with Datacenter → Permissions → API Tokens; a lost secret is replaced: pveum user token remove, and add';
  return status === 403 ? grant(message, tokenId, what) : fixFor(message);
}

/** Where one of several privileges would do, Proxmox names none: which it is of those that we ask for. */
const UNNAMED: [RegExp, string][] = [
  [/^POST .*\/qemu\/\d+\/clone$/, 'VM.Allocate on /vms'],
  [/^POST \/nodes\/[^/]+\/qemu$/, 'VM.Allocate on /vms'],
  [/^POST .*\/download-url$/, 'Sys.AccessNetwork on /nodes'],
];

/** How to give what a 403 names. */
function grant(message: string, tokenId: string, what: string): string | undefined {
  const [, path, privileges] = /Permission check failed \(([^,]+), ([^)]+)\)/.exec(message) ?? [];
  if (!path || !privileges) {
    const lacking = UNNAMED.find(([call]) => call.test(what))?.[1];
    return (
      lacking && `the token ${tokenId}, or its user, lacks ${lacking}: npx tsx scripts/check.ts --role prints the role`
    );
  }
  return `the token ${tokenId} lacks ${privileges.replaceAll('|', ' or ')} on ${path}: give it a role with that privilege there, and its user too (a token never has more than its user): pveum acl modify ${path} --tokens '${tokenId}' --roles ROLE`;
}

const FIXES: [RegExp, string][] = [
  [/out of space|No space left/i, 'make room on that storage, or name another one in homelab.yaml'],
  [/VM is locked|got timeout/, 'something else works on that VM: wait for it, and run it again'],
  [/already exists|File exists/, 'that VMID is taken: choose another in homelab.yaml, or remove what holds it'],
  [
    /checksum/i,
    'the ISO is not what template.iso.sha256 says: compare it with the SHA256SUMS of its release, and correct template.iso',
  ],
  [
    /local cdrom|scanning volumes/,
    'something local to its node is attached to that VM: Hardware → CD/DVD Drive → do not use any media; then run it again',
  ],
  [/unexpected status/, 'its worker was killed, perhaps with its node: run the same command again, it looks first'],
];

/** What to do about Proxmox's words, where they are known. */
export function fixFor(message: string): string | undefined {
  return FIXES.find(([words]) => words.test(message))?.[1];
}
