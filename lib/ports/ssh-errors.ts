import { DeadlineError, HomelabError, messageOf } from '../errors.ts';

/** A host that cannot be talked to: no connection, no login, no trust, or the connection broke. */
export class Unreachable extends HomelabError {
  override name = 'Unreachable';
}

/** The connection had ended before the command was sent: trying again is safe. */
export class NotStarted extends Unreachable {
  override name = 'NotStarted';
}

/** What ssh2 and the network say when no connection comes about, in words that say what to do. */
export function explained(error: unknown, host: string, address: string, user: string): Unreachable {
  if (error instanceof Unreachable) return error;
  const message = messageOf(error);
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const { level } = error as { level?: string };
  const who = `${host} (${address})`;
  if (level === 'client-authentication')
    return new Unreachable(`${who} does not let ${user} in: ${message}`, {
      cause: 'the key is not in its authorized_keys, or the user is another',
      fix: `try: ssh -o IdentitiesOnly=yes ${user}@${address}; ssh.key in homelab.yaml names the key`,
    });
  if (error instanceof DeadlineError || code === 'ETIMEDOUT' || code === 'EHOSTUNREACH' || code === 'ENETUNREACH')
    return new Unreachable(`${who} does not answer by SSH: ${message.replace(/^.*: (?=not within)/, '')}`, {
      cause: 'it is off, still booting, or has another address',
    });
  if (code === 'ECONNREFUSED')
    return new Unreachable(`${who}: connection refused`, { cause: 'it is up, but its SSH server is not (yet)' });
  return new Unreachable(`${who}: ${message}`);
}
