import { DeadlineError, type Explanation, HomelabError, messageOf } from '../errors.ts';
import type { Login } from './ssh-login.ts';

/** A host that cannot be talked to: no connection, no login, no trust, or the connection broke. */
export class Unreachable extends HomelabError {
  override name = 'Unreachable';
}

/** The connection had ended before the command was sent: trying again is safe. */
export class NotStarted extends Unreachable {
  override name = 'NotStarted';
}

/** sudo itself said no: the command was not run. */
export class SudoRefused extends HomelabError {
  override name = 'SudoRefused';
}

/** A host as errors name it: "k3s-cp-01 (10.20.11.80)". */
export function whereIs({ name, address, port }: Pick<Login, 'name' | 'address' | 'port'>): string {
  return `${name} (${address}${port === 22 ? '' : `:${port}`})`;
}

/** The same error, of a host behind the one that it is about. */
export function behind(error: unknown, login: Login): unknown {
  if (!(error instanceof Unreachable)) return error;
  const { message, likelyCause, fix, output } = error;
  return new Unreachable(`${whereIs(login)} is reached through ${login.via?.name}, and ${message}`, {
    ...{ cause: likelyCause, fix, output },
  });
}

/**
 * What ssh2 and the network say when no connection comes about, in words that say what to do.
 * @param offered what was offered of keys, and what was not, as sentences
 */
export function explained(error: unknown, login: Login, offered: readonly string[]): Unreachable {
  if (error instanceof Unreachable) return error;
  const { user, address, port, via } = login;
  const message = messageOf(error);
  const code = (error as NodeJS.ErrnoException).code ?? '';
  const { level } = error as { level?: string };
  const who = whereIs(login);
  const say = (text: string, explanation: Explanation = {}): Unreachable =>
    new Unreachable(`${who}${text}`, explanation);
  if (level === 'client-authentication' || /too many authentication failures/i.test(message)) {
    const [key] = login.keys;
    const flags = [
      key && `-i ${key.file}`,
      port !== 22 && `-p ${port}`,
      via && `-J ${via.user}@${via.address}:${via.port}`,
    ];
    return say(` does not let ${user} in: ${[message, ...offered].join('; ')}`, {
      cause: 'the key is not in its authorized_keys, or the user is another',
      fix: `try: ${['ssh -o IdentitiesOnly=yes', ...flags.filter(Boolean), `${user}@${address}`].join(' ')}; ssh.key in homelab.yaml or IdentityFile in ~/.ssh/config name the key`,
    });
  }
  const forwarding = /Channel open failure: (.*)/.exec(message)?.[1];
  if (via && forwarding !== undefined)
    return say(` is not reached by ${whereIs(via)}, its jump host: ${forwarding}`, {
      cause: /prohibited/i.test(forwarding)
        ? `${via.name} forwards nothing (AllowTcpForwarding, PermitOpen in its sshd_config)`
        : 'it is off, still booting, or has another address; or the jump host is not in its network',
    });
  if (error instanceof DeadlineError || ['ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'EHOSTDOWN'].includes(code))
    return say(` does not answer by SSH: ${message.replace(/^.*: (?=not within)/, '')}`, {
      cause: 'it is off, still booting, or has another address',
    });
  if (code === 'ECONNREFUSED')
    return say(': connection refused', { cause: 'it is up, but its SSH server is not (yet)' });
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return say(`: no address for ${address} (${code})`, {
      cause: 'DNS of this machine does not have the HostName that ~/.ssh/config gives it',
    });
  if (/no matching/i.test(message))
    return say(`: ${message}`, {
      cause: 'its sshd_config allows only algorithms that are not known here',
      fix: 'allow one more there: curve25519-sha256 (KexAlgorithms), aes256-gcm@openssh.com (Ciphers), ssh-ed25519 (HostKeyAlgorithms)',
    });
  if (/before the login|before handshake|ECONNRESET/i.test(message))
    return say(`: ${message}`, {
      cause: 'it is still booting, or its SSH server turned us away (MaxStartups, fail2ban)',
    });
  return say(`: ${message}`);
}
