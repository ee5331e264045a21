import { bech32 } from '@scure/base';
import type { ConfigProblem } from '../load.ts';
import type { Backup } from '../schema.ts';

/** The second target is one place, and another than the first. */
export function secondTargetProblems({ target, second_target: second }: Backup): ConfigProblem[] {
  if (!second) return [];
  const at = ['backup', 'second_target'];
  const { export: reference, folder, path } = second;
  if ((reference === undefined) === (folder === undefined))
    return [
      {
        path: at,
        message: reference === undefined ? 'has neither export nor folder' : 'has both export and folder',
        fix: 'write `export: NAS/EXPORT`, or `folder: /mnt/usb` for a disk that is mounted there',
      },
    ];
  if (reference !== target.export || !isWithin(path, target.path)) return [];
  return [
    {
      path: [...at, 'path'],
      message: `"${path}" and backup.target.path "${target.path}" of ${reference} are the same folder, or one lies in the other: that would be no second copy`,
      fix: 'take another NAS, or a disk',
    },
  ];
}

/** Every recipient can be encrypted to; a typing error would make backups that nobody can read. */
export function encryptionProblems({ target, second_target: second }: Backup): ConfigProblem[] {
  const problems = [
    ...recipientProblems(target.encrypt_to ?? [], ['backup', 'target', 'encrypt_to']),
    ...recipientProblems(second?.encrypt_to ?? [], ['backup', 'second_target', 'encrypt_to']),
  ];
  if (target.encrypt_to && second?.encrypt_to)
    problems.push({
      path: ['backup', 'second_target', 'encrypt_to'],
      message: 'the sets of backup.target are encrypted already, and are copied as they are',
      fix: 'take it out here; name all recipients in backup.target.encrypt_to',
    });
  return problems;
}

/** Whether two folders are the same, or one lies in the other. */
export function isWithin(one: string, other: string): boolean {
  const [a, b] = [one, other].map((path) => `${path.split('/').filter(Boolean).join('/')}/`) as [string, string];
  return a.startsWith(b) || b.startsWith(a);
}

const CLASSIC = 'age1';
const POST_QUANTUM = 'age1pq1';

function recipientProblems(recipients: readonly string[], path: (string | number)[]): ConfigProblem[] {
  const problems = recipients.flatMap((recipient, i) => {
    const problem = recipientProblem(recipient);
    const twice = recipients.indexOf(recipient) < i;
    if (problem) return [{ path: [...path, i], ...problem }];
    return twice ? [{ path: [...path, i], message: `${short(recipient)} is there twice`, fix: 'take one out' }] : [];
  });
  const quantum = recipients.filter((one) => one.startsWith(POST_QUANTUM)).length;
  if (problems.length === 0 && quantum > 0 && quantum < recipients.length)
    problems.push({
      path,
      message: `some recipients are post-quantum (${POST_QUANTUM}…) and some are not: the weaker ones would decide`,
      fix: 'make all of one kind',
    });
  return problems;
}

function recipientProblem(recipient: string): Pick<ConfigProblem, 'message' | 'fix'> | undefined {
  if (/^\s*age-secret-key/i.test(recipient))
    return {
      message: 'is a secret key; whoever can read homelab.yaml could read the backups',
      fix: 'write its public key (age-keygen -y FILE), and make a new pair if this file was shared',
    };
  if (!recipient.startsWith(CLASSIC))
    return {
      message: `${JSON.stringify(short(recipient))} is no age recipient`,
      fix: 'write one that begins with "age1", from age-keygen; SSH keys and plugins are not supported',
    };
  const [prefix, length] = recipient.startsWith(POST_QUANTUM) ? ['age1pq', 1216] : ['age', 32];
  const decoded = decode(recipient);
  if (decoded?.prefix === prefix && decoded.bytes.length === length) return undefined;
  return {
    message: decoded
      ? `${short(recipient)} is no key of age's own, but of a plugin (or something else)`
      : `${short(recipient)} has a typing error, or is cut off: its check sum does not match`,
    fix: decoded ? 'write one from age-keygen' : 'copy it again, whole: age-keygen -y FILE',
  };
}

function decode(text: string): { prefix: string; bytes: Uint8Array } | undefined {
  const found = bech32.decodeUnsafe(text, false);
  const bytes = found && bech32.fromWordsUnsafe(found.words);
  return found && bytes ? { prefix: found.prefix, bytes } : undefined;
}

function short(recipient: string): string {
  return recipient.length > 24 ? `${recipient.slice(0, 16)}…${recipient.slice(-4)}` : recipient;
}
