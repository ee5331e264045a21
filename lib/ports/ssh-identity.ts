import { readFileSync } from 'node:fs';
import ssh2, { type AgentAuthMethod, type IdentityCallback, type ParsedKey, type PublicKeyAuthMethod } from 'ssh2';
import { within } from '../deadline.ts';
import { messageOf, UsageError } from '../errors.ts';
import { fingerprint } from './known-hosts.ts';
import type { KeyFile, Login } from './ssh-login.ts';

/** What is offered, in order; and what was, and why the rest was not, in words. */
export type Offers = { methods: (PublicKeyAuthMethod | AgentAuthMethod)[]; said: string[] };

/** What a key file is good for: by itself, for knowing which key of an agent is meant, or for nothing. */
type Look = { key: Buffer } | { public?: Buffer; why: string; fix: string };

/** Seconds in which an agent says which keys it has. */
const AGENT_DEADLINE = 10;

/**
 * Offers the keys of a login and no others, since servers count each offer as a failed attempt. An agent is asked for
 * the signature of exactly these; for any that it has only where there is none of them, not even a public half.
 * @throws UsageError when there is nothing to offer
 */
export async function offersOf(login: Login): Promise<Offers> {
  const { user, agent, identitiesOnly, name } = login;
  const looks = login.keys.map((key) => ({ label: `${key.setting}: ${key.file}`, ...look(key) }));
  const held = looks.some((one) => !('key' in one)) ? await heldBy(agent) : { keys: [], why: '' };
  const methods: Offers['methods'] = [];
  const offered: string[] = [];
  const refused: { text: string; fix: string }[] = [];
  const byAgent = (key: ParsedKey): void => {
    methods.push({ type: 'agent', username: user, agent: new OneKeyAgent(agent ?? '', key) });
    offered.push(`offered ${print(key)}, which the ssh-agent has`);
  };
  for (const one of looks) {
    if ('key' in one) {
      methods.push({ type: 'publickey', username: user, key: one.key });
      offered.push(`offered ${one.label}`);
      continue;
    }
    const wanted = one.public && held.keys.find((key) => key.getPublicSSH().equals(one.public ?? Buffer.alloc(0)));
    if (wanted) byAgent(wanted);
    else
      refused.push({
        text: `${one.label}: ${one.why}, and ${held.why || 'the ssh-agent does not have it'}`,
        fix: one.fix,
      });
  }
  const isNamed = looks.some((one) => 'key' in one || one.public);
  if (methods.length === 0 && !isNamed && !identitiesOnly) for (const key of held.keys) byAgent(key);
  if (methods.length === 0) {
    const [first] = refused;
    const texts = refused.map(({ text }) => text).join('; ');
    throw new UsageError(refused.length === 1 ? texts : `${name}: no key to log in with: ${texts}`, {
      fix: first?.fix,
    });
  }
  return { methods, said: [...offered, ...refused.map(({ text }) => `not offered ${text}`)] };
}

/** What a file that is to hold a private key (or, where an agent has that, the public one) is good for. */
function look({ file }: KeyFile): Look {
  const text = read(file);
  const beside = read(`${file}.pub`);
  const besidePublic = Buffer.isBuffer(beside) ? publicHalf(ssh2.utils.parseKey(beside)) : undefined;
  const add = `start ssh-agent, and ssh-add ${file.replace(/\.pub$/, '')}`;
  if (text === undefined)
    return {
      ...{ public: besidePublic, why: 'there is no such file' },
      fix: `ssh-keygen -t ed25519 -f ${file}, or name another key under ssh.key in homelab.yaml`,
    };
  if (text instanceof Error) return { why: text.message, fix: 'make it a file that you can read' };
  const parsed = ssh2.utils.parseKey(text);
  if (!(parsed instanceof Error)) {
    if (parsed.isPrivateKey()) return { key: text };
    return { public: parsed.getPublicSSH(), why: 'it is a public key', fix: add };
  }
  if (!/encrypted/i.test(parsed.message)) return { why: parsed.message, fix: 'name an OpenSSH private key' };
  return { public: clearHalf(text.toString('latin1')) ?? besidePublic, why: 'it is encrypted', fix: add };
}

/** Undefined where there is none. */
function read(file: string): Buffer | Error | undefined {
  try {
    return readFileSync(file);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return code === 'ENOENT' || code === 'ENOTDIR' ? undefined : (error as Error);
  }
}

function publicHalf(key: ParsedKey | Error): Buffer | undefined {
  return key instanceof Error ? undefined : key.getPublicSSH();
}

/** The public key that OpenSSH's key files have in the clear, also when the private one is encrypted. */
function clearHalf(text: string): Buffer | undefined {
  const body = /-----BEGIN OPENSSH PRIVATE KEY-----([^-]+)-----END/.exec(text)?.[1];
  const bytes = Buffer.from(body ?? '', 'base64');
  let at = 'openssh-key-v1\0'.length;
  const next = (): Buffer => {
    const start = at + 4;
    at = start + bytes.readUInt32BE(at);
    return bytes.subarray(start, at);
  };
  try {
    for (const _ of ['cipher', 'kdf', 'its options']) next();
    at += 4; // how many keys there are: one
    return next();
  } catch {
    return undefined;
  }
}

/** The keys of an agent, or why there is none to ask. */
async function heldBy(socket: string | undefined): Promise<{ keys: ParsedKey[]; why: string }> {
  if (socket === undefined) return { keys: [], why: 'no ssh-agent' };
  try {
    const keys = await within(AGENT_DEADLINE, `the ssh-agent at ${socket}`, () => identities(socket));
    return { keys, why: '' };
  } catch (error) {
    return { keys: [], why: `the ssh-agent at ${socket} does not answer (${messageOf(error)})` };
  }
}

function identities(socket: string): Promise<ParsedKey[]> {
  return new Promise((resolve, reject) =>
    new ssh2.OpenSSHAgent(socket).getIdentities((error, keys = []) => {
      if (error) reject(error);
      else resolve(keys.flatMap((key) => ('getPublicSSH' in key ? [key] : [])));
    }),
  );
}

function print(key: ParsedKey): string {
  return `${key.type} ${fingerprint({ type: key.type, blob: key.getPublicSSH().toString('base64') })}`;
}

/** An agent that has one key only. */
class OneKeyAgent extends ssh2.OpenSSHAgent {
  readonly #key: ParsedKey;

  constructor(socket: string, key: ParsedKey) {
    super(socket);
    this.#key = key;
  }

  override getIdentities(done: IdentityCallback<ParsedKey>): void {
    done(null, [this.#key]);
  }
}
