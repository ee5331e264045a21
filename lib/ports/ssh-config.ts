import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { homedir, hostname, tmpdir, userInfo } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../errors.ts';
import type { Secrets } from '../secret.ts';
import { realExec } from './exec.ts';

/** A jump host as ProxyJump names it. */
export type Jump = { host: string; user?: string; port?: number };

/** What ssh_config says of a destination. What it does not say is undefined, or empty. */
export type SshSettings = {
  hostName: string;
  port: number;
  user?: string;
  /** IdentityFile, in order, tokens and all. */
  keys: string[];
  identitiesOnly: boolean;
  identityAgent?: string;
  /** ProxyJump, tokens and all, the one that is nearest to us first. */
  jumps: string[];
  proxyCommand?: string;
  knownHosts: string[];
  hostKeyAlias?: string;
};

/** Asks this machine's ssh what it would do, once a destination. */
export type SshConfig = {
  /** Undefined where the machine has no ssh. @throws UsageError when ssh cannot read its configuration either */
  of(destination: string): Promise<SshSettings | undefined>;
};

/** What stands where ssh_config says nothing. */
const UNSET = 'homelab-unset';
/** A host that nobody configures: what ssh_config says of it, it says of every host. */
export const ANYBODY = 'homelab.invalid';
/** Seconds: a `Match exec` of the user's runs a program of his. */
const DEADLINE = 15;

export function openSshConfig(secrets: Secrets): SshConfig {
  const exec = realExec();
  const asked = new Map<string, Promise<SshSettings | undefined>>();
  // ssh_config may speak of any variable; of what is secret here it does not.
  const env = Object.fromEntries(
    Object.entries(process.env).flatMap(([name, value]) => (value && !secrets.get(name) ? [[name, value]] : [])),
  );

  const ask = async (destination: string): Promise<SshSettings | undefined> => {
    if (!exec.which('ssh')) return undefined;
    const folder = await mkdtemp(join(tmpdir(), 'homelab-ssh-'));
    const file = join(folder, 'config');
    try {
      await writeFile(file, configText(homedir()), { mode: 0o600 });
      // DNS is not asked for nobody.
      const canonical = destination === ANYBODY ? ['-o', 'CanonicalizeHostname=no'] : [];
      const argv = ['ssh', '-G', '-T', '-F', file, ...canonical, '--', destination];
      const { code, stdout, stderr } = await exec.run(argv, { env, deadline: DEADLINE });
      if (code === 0) return parseSettings(stdout);
      const words = stderr.split('\n').filter((line) => line !== '' && !line.startsWith(file));
      throw new UsageError(`ssh -G ${destination}: ${words.join('; ') || `exit code ${code}`}`, {
        fix: 'correct ~/.ssh/config; ssh itself cannot use it like this either',
      });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
  return {
    of(destination) {
      const known = asked.get(destination);
      if (known) return known;
      const answer = ask(destination);
      asked.set(destination, answer);
      answer.catch(() => asked.delete(destination)); // it may have been late only
      return answer;
    },
  };
}

/**
 * The first value that ssh finds counts, so the user's and the system's files come before ours. `-F` names the
 * user's: by itself ssh takes the home folder from the passwd entry, while `~` is $HOME everywhere else.
 */
function configText(home: string): string {
  return `Include "${home}/.ssh/config"
Include /etc/ssh/ssh_config
Host *
  User ${UNSET}
  IdentityFile ${UNSET}
  UserKnownHostsFile "${home}/.ssh/known_hosts" "${home}/.ssh/known_hosts2"
`;
}

/** What `ssh -G` printed. */
export function parseSettings(text: string): SshSettings {
  const lines = text.split('\n').map((line) => {
    const at = line.indexOf(' ');
    return { key: line.slice(0, at).toLowerCase(), value: line.slice(at + 1).trim() };
  });
  const all = (key: string): string[] =>
    lines.flatMap((line) => (line.key === key && line.value !== UNSET && line.value !== 'none' ? [line.value] : []));
  const [hostName = '', port = '22', user] = ['hostname', 'port', 'user'].map((key) => all(key)[0]);
  return {
    hostName,
    port: Number(port),
    user,
    keys: all('identityfile'),
    identitiesOnly: all('identitiesonly')[0] === 'yes',
    // Here `none` means something: no agent, also where there is one.
    identityAgent: lines.find(({ key }) => key === 'identityagent')?.value,
    jumps: (all('proxyjump')[0] ?? '').split(',').filter(Boolean),
    proxyCommand: all('proxycommand')[0],
    // ssh joins them with spaces, also those that have some.
    knownHosts: [...all('userknownhostsfile'), ...all('globalknownhostsfile')].flatMap((list) =>
      list.split(/ (?=[/~])/),
    ),
    hostKeyAlias: all('hostkeyalias')[0],
  };
}

/** "[user@]host[:port]", the host perhaps an IPv6 address in brackets. */
export function parseJump(text: string): Jump {
  const [, user, host = '', port] = /^(?:ssh:\/\/)?(?:(.*)@)?(\[[^\]]*\]|[^:]*)(?::(\d+))?$/.exec(text) ?? [];
  return { host: host.replace(/^\[(.*)\]$/, '$1'), user, port: port === undefined ? undefined : Number(port) };
}

/** Whether two destinations are told the same, but for their own names in it. */
export function saysTheSame(a: SshSettings, b: SshSettings, names: readonly string[]): boolean {
  const general = (settings: SshSettings): string =>
    names.reduce((text, name) => text.replaceAll(name, '%h'), JSON.stringify(settings));
  return general(a) === general(b);
}

/** What ssh puts in for the tokens and variables of a path in ssh_config. */
export function expandTokens(path: string, its: { host: string; name: string; port: number; user: string }): string {
  const { username, uid } = userInfo();
  const tokens: Record<string, string> = {
    ...{ '%': '%', d: homedir(), h: its.host, n: its.name, p: String(its.port), r: its.user },
    ...{ u: username, i: String(uid), l: hostname(), L: hostname().split('.')[0] ?? '' },
  };
  return path
    .replace(/^~(?=\/)/, homedir())
    .replaceAll(/\$\{(\w+)\}/g, (whole, name: string) => process.env[name] ?? whole)
    .replaceAll(/%(.)/g, (whole, token: string) => tokens[token] ?? whole);
}
