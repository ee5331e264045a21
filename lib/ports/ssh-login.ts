import { homedir, userInfo } from 'node:os';
import { join } from 'node:path';
import { UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { addressOf } from '../lookup.ts';
import { expandPath } from '../paths.ts';
import type { PortContext } from './index.ts';
import {
  ANYBODY,
  expandTokens,
  type Jump,
  openSshConfig,
  parseJump,
  type SshConfig,
  type SshSettings,
  saysTheSame,
} from './ssh-config.ts';

/** A file with a private key, and the setting that names it. */
export type KeyFile = { file: string; setting: string };

/** How a host is logged in to. */
export type Login = {
  /** Equal for logins that share a connection. */
  id: string;
  /** What errors call it: for a host of homelab.yaml its name there. */
  name: string;
  address: string;
  port: number;
  user: string;
  /** In the order in which they are offered. */
  keys: KeyFile[];
  /** The agent's socket, where there is one. */
  agent?: string;
  /** Offers nothing but `keys`, also where none of them is there. */
  identitiesOnly: boolean;
  /** The address in homelab.yaml: our own known_hosts has the host's key under it. */
  labAddress?: string;
  /** Where else its key may stand, and under which names. */
  knownHosts: { files: string[]; names: string[] };
  /** The jump host that leads to it. */
  via?: Login;
};

/** Logins of a lab's hosts: homelab.yaml, and (never in a rehearsal) the user's ssh_config. Asked for once a host. */
export function openLogins(context: PortContext): (host: string) => Promise<Login> {
  const { lab, endpoints, secrets, detail } = context;
  const logins = new Map<string, Promise<Login>>();
  const resolver = endpoints.rehearsal ? undefined : new Resolver(lab, openSshConfig(secrets), detail);
  const resolve = async (host: string): Promise<Login> => resolver?.host(host) ?? plainLogin(lab, host, []);
  return (host) => {
    const known = logins.get(host);
    if (known) return known;
    const login = resolve(host);
    logins.set(host, login);
    login.catch(() => logins.delete(host));
    return login;
  };
}

/** What homelab.yaml alone says. @throws Error for a host without SSH */
function plainLogin(lab: Lab, name: string, knownHosts: string[]): Login {
  const { config } = lab;
  const address = addressOf(lab, name);
  return {
    ...{ id: name, name, address, port: 22, user: userOf(lab, name), keys: [labKey(lab)] },
    ...{ agent: process.env.SSH_AUTH_SOCK || undefined, identitiesOnly: false, labAddress: address },
    knownHosts: { files: knownHosts, names: [address, name, `${name}.${config.search_domain}`] },
  };
}

function labKey({ config, paths }: Lab): KeyFile {
  return { file: expandPath(config.ssh.key, paths.root), setting: 'ssh.key' };
}

function userOf({ config, ledger }: Lab, host: string): string {
  const { k3s, proxmox, nas, ssh, template } = config;
  if (k3s.nodes.some(({ name }) => name === host)) return template.user;
  if (proxmox.nodes.some(({ name }) => name === host)) return ssh.proxmox_user;
  if (nas.some(({ name, kind }) => name === host && kind === 'linux')) return 'root';
  // A node that homelab.yaml does not have any more; its machine may still run.
  if (ledger.leases.some(({ name }) => name === host)) return template.user;
  throw new Error(`${host} is not reached by SSH`);
}

/** Joins what homelab.yaml and ssh_config say. */
class Resolver {
  readonly #lab: Lab;
  readonly #config: SshConfig;
  readonly #detail: (text: string) => void;
  #saidWithout = false;

  constructor(lab: Lab, config: SshConfig, detail: (text: string) => void = () => {}) {
    this.#lab = lab;
    this.#config = config;
    this.#detail = detail;
  }

  /**
   * A host of homelab.yaml. ssh_config is asked by the host's name, and by its address where it has nothing for the
   * name. What it says of this host counts more than homelab.yaml; what it says of every host (`Host *`) counts less.
   * @param path whom it leads to, as a jump host
   */
  async host(name: string, path: readonly string[] = []): Promise<Login> {
    const plain = plainLogin(this.#lab, name, [join(homedir(), '.ssh', 'known_hosts'), '/etc/ssh/ssh_known_hosts']);
    const [byName, everybody] = await Promise.all([this.#config.of(name), this.#config.of(ANYBODY)]);
    if (!byName || !everybody) return this.#without(plain);
    const isNamed = !saysTheSame(byName, everybody, [name, ANYBODY]);
    const asked = isNamed ? name : plain.address;
    const said = (isNamed ? undefined : await this.#config.of(asked)) ?? byName;
    const own = <T>(of: (settings: SshSettings) => T): T | undefined =>
      JSON.stringify([of(said)]).replaceAll(asked, '%h') === JSON.stringify([of(everybody)]).replaceAll(ANYBODY, '%h')
        ? undefined
        : of(said);
    const hostName = own((settings) => settings.hostName) ?? plain.address;
    const user = own((settings) => settings.user) ?? plain.user;
    const { keys, knownHosts, ...rest } = this.#configured(name, { ...said, hostName }, user);
    const offered = own((settings) => settings.keys) ? [...keys, ...plain.keys] : [...plain.keys, ...keys];
    const names = said.hostKeyAlias ? [] : plain.knownHosts.names;
    const login: Login = {
      ...rest,
      keys: offered.filter(({ file }, at) => offered.findIndex((key) => key.file === file) === at),
      knownHosts: { files: knownHosts.files, names: [...new Set([...knownHosts.names, ...names])] },
      labAddress: plain.address,
      via: await this.#chain(jumpsOf(said, rest), [...path, name]),
    };
    if (path.length === 0) this.#tell(login, plain);
    return login;
  }

  /** Of `a,b` it is `b` that leads to the host; `a` leads to `b`. */
  async #chain(jumps: readonly Jump[], path: readonly string[]): Promise<Login | undefined> {
    const jump = jumps.at(-1);
    return jump && this.#jump(jump, jumps.slice(0, -1), path);
  }

  /** A jump host: what ssh_config says of it; one that homelab.yaml has is the same host here. */
  async #jump(jump: Jump, before: readonly Jump[], path: readonly string[]): Promise<Login> {
    const ours = this.#ofLab(jump.host);
    const name = ours ?? jump.host;
    if (path.includes(name))
      throw new UsageError(`ssh_config leads in a circle: ${[...path, name].join(' is reached through ')}`, {
        fix: `say "ProxyJump none" for ${name} in ~/.ssh/config, above the entry that has the jump host`,
      });
    const known = ours === undefined ? await this.#stranger(name, path) : await this.host(ours, path);
    if (before.length === 0 && jump.user === undefined && jump.port === undefined) return known;
    const via = before.length > 0 ? await this.#chain(before, [...path, name]) : known.via;
    const login = { ...known, user: jump.user ?? known.user, port: jump.port ?? known.port, via };
    return { ...login, id: idOf(login) };
  }

  async #stranger(name: string, path: readonly string[]): Promise<Login> {
    const said = await this.#config.of(name);
    if (!said) throw new Error(`no ssh_config for ${name}`);
    const configured = this.#configured(name, said, said.user ?? userInfo().username);
    const usual = ['id_ed25519', 'id_ecdsa', 'id_rsa'].map((file) => join(homedir(), '.ssh', file));
    const keys = [labKey(this.#lab), ...usual.map((file) => ({ file, setting: 'ssh' }))];
    const login = {
      ...configured,
      keys: configured.keys.length > 0 ? configured.keys : keys,
      via: await this.#chain(jumpsOf(said, configured), [...path, name]),
    };
    return { ...login, id: idOf(login) };
  }

  #configured(name: string, said: SshSettings, user: string): Login {
    const { hostName, port, hostKeyAlias, proxyCommand, identitiesOnly } = said;
    if (proxyCommand)
      throw new UsageError(`${name}: ssh_config has "ProxyCommand ${proxyCommand}", which is not supported here`, {
        fix: 'use ProxyJump ("ProxyCommand ssh -W %h:%p X" is "ProxyJump X"), or say "ProxyCommand none" for this host',
      });
    const its = { host: hostName, name, port, user };
    return {
      ...{ id: name, name, address: hostName, port, user, identitiesOnly },
      keys: said.keys.map((key) => ({
        file: expandPath(expandTokens(key, its), process.cwd()),
        setting: 'IdentityFile',
      })),
      agent: agentOf(said.identityAgent, its),
      knownHosts: { files: said.knownHosts, names: [hostKeyAlias ?? hostName] },
    };
  }

  #ofLab(host: string): string | undefined {
    const { k3s, proxmox, nas } = this.#lab.config;
    const names = [...k3s.nodes, ...proxmox.nodes, ...nas.filter(({ kind }) => kind === 'linux')].map(
      ({ name }) => name,
    );
    return names.find((name) => name === host || addressOf(this.#lab, name) === host);
  }

  #without(plain: Login): Login {
    if (!this.#saidWithout) this.#detail('there is no ssh on this machine, so ~/.ssh/config is not read');
    this.#saidWithout = true;
    return plain;
  }

  #tell(login: Login, plain: Login): void {
    const hops = [];
    for (let hop = login.via; hop; hop = hop.via) hops.unshift(hop.name);
    const where = (one: Login): string => `${one.user}@${one.address}:${one.port}`;
    const parts = [
      ...(where(login) === where(plain) ? [] : [where(login)]),
      ...(login.keys[0]?.file === plain.keys[0]?.file ? [] : [`key ${login.keys[0]?.file}`]),
      ...(hops.length === 0 ? [] : [`through ${hops.join(', ')}`]),
    ];
    if (parts.length > 0) this.#detail(`${login.name}: by ssh_config ${parts.join(', ')}`);
  }
}

function idOf({ user, address, port, via }: Omit<Login, 'id'>): string {
  return `${user}@${address}:${port}${via ? ` through ${via.id}` : ''}`;
}

function jumpsOf({ jumps }: SshSettings, login: Pick<Login, 'address' | 'name' | 'port' | 'user'>): Jump[] {
  return jumps.map((jump) => parseJump(expandTokens(jump, { ...login, host: login.address })));
}

/** IdentityAgent as ssh reads it: a socket, a variable that names one, or none at all. */
function agentOf(setting: string | undefined, its: Parameters<typeof expandTokens>[1]): string | undefined {
  if (setting === 'none') return undefined;
  if (setting === undefined || setting === 'SSH_AUTH_SOCK') return process.env.SSH_AUTH_SOCK || undefined;
  if (/^\$\w/.test(setting)) return process.env[setting.slice(1)] || undefined;
  return expandTokens(setting, its);
}
