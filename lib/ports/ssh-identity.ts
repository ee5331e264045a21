import { existsSync, readFileSync } from 'node:fs';
import ssh2, { type ConnectConfig, type IdentityCallback, type ParsedKey } from 'ssh2';
import { UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { expandPath } from '../paths.ts';

/**
 * The one key that is offered: the file of ssh.key, or the agent's. An agent offers only the key whose public
 * half lies beside that file, where there is one: servers count each offer as a failed attempt.
 * @throws UsageError when there is neither
 */
export function identity(lab: Lab, agentSocket: string | undefined): Pick<ConnectConfig, 'privateKey' | 'agent'> {
  const { key } = lab.config.ssh;
  const file = expandPath(key, lab.paths.root);
  if (existsSync(file)) {
    const text = readFileSync(file);
    const parsed = ssh2.utils.parseKey(text);
    if (!(parsed instanceof Error)) return { privateKey: text };
    const encrypted = /encrypted/i.test(parsed.message);
    if (!encrypted || !agentSocket)
      throw new UsageError(`ssh.key: ${file}: ${parsed.message}`, {
        fix: encrypted ? 'start ssh-agent and ssh-add the key' : 'name an OpenSSH private key',
      });
  } else if (!agentSocket)
    throw new UsageError(`ssh.key: ${file}: there is no such file, and no ssh-agent`, {
      fix: `ssh-keygen -t ed25519 -f ${key}, or name another key under ssh.key in homelab.yaml`,
    });
  const wanted = existsSync(`${file}.pub`) ? ssh2.utils.parseKey(readFileSync(`${file}.pub`)) : undefined;
  return { agent: new OneKeyAgent(agentSocket ?? '', wanted instanceof Error ? undefined : wanted) };
}

class OneKeyAgent extends ssh2.OpenSSHAgent {
  readonly #wanted: ParsedKey | undefined;

  constructor(socket: string, wanted: ParsedKey | undefined) {
    super(socket);
    this.#wanted = wanted;
  }

  override getIdentities(done: IdentityCallback<ParsedKey>): void {
    super.getIdentities((error, keys) => {
      const blob = this.#wanted?.getPublicSSH();
      done(error, blob ? keys?.filter((key) => 'getPublicSSH' in key && key.getPublicSSH().equals(blob)) : keys);
    });
  }
}
