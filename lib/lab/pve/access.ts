import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { denied, PveError } from './errors.ts';
import type { TokenSpec } from './types.ts';

/** Who asks: a token ("homelab@pve!toolkit") or a user with a ticket ("root@pam"). */
export type Identity = { id: string; isRoot: boolean };

const VM_PRIVILEGES = [
  ...['VM.Allocate', 'VM.Audit', 'VM.Clone', 'VM.PowerMgmt', 'VM.Console', 'VM.Migrate'],
  ...['Disk', 'CDROM', 'CPU', 'Memory', 'Network', 'HWType', 'Options', 'Cloudinit'].map((x) => `VM.Config.${x}`),
  ...['VM.GuestAgent.Audit', 'VM.GuestAgent.FileRead'],
];

/** The least set that the toolkit needs, by ACL path. */
export function defaultPrivileges(bridge: string): Record<string, readonly string[]> {
  return {
    '/vms': VM_PRIVILEGES,
    '/storage': ['Datastore.AllocateSpace', 'Datastore.AllocateTemplate', 'Datastore.Allocate', 'Datastore.Audit'],
    [`/sdn/zones/localnetwork/${bridge}`]: ['SDN.Use'],
    '/mapping/pci': ['Mapping.Use', 'Mapping.Audit'],
    '/nodes': ['Sys.Audit', 'Sys.AccessNetwork'],
    '/pool': ['Pool.Audit'],
  };
}

/** Authentication and privileges. */
export class Access {
  readonly #token: TokenSpec;
  readonly #user?: { id: string; password: string };
  readonly #privileges: Record<string, readonly string[]>;
  readonly #key = randomBytes(32);

  constructor(token: TokenSpec, bridge: string, user?: { id: string; password: string }) {
    this.#token = token;
    this.#user = user;
    this.#privileges = token.privileges ?? defaultPrivileges(bridge);
  }

  /** Whose request it is. @throws PveError 401 */
  identify(headers: IncomingHttpHeaders, method: string): Identity {
    const [, tokenId, secret] = /^PVEAPIToken=([^=]+)=(.*)$/.exec(headers.authorization ?? '') ?? [];
    if (tokenId !== undefined && secret !== undefined) {
      if (tokenId !== this.#token.id)
        throw new PveError(401, `no such token '${tokenId.split('!')[1] ?? ''}' for user '${tokenId.split('!')[0]}'`);
      if (!same(secret, this.#token.secret)) throw new PveError(401, 'invalid token value!');
      return { id: tokenId, isRoot: false };
    }
    const cookie = /(?:^|;\s*)PVEAuthCookie=([^;]+)/.exec(headers.cookie ?? '')?.[1];
    if (!cookie) throw new PveError(401, 'No ticket');
    const [, id, time, mac] = /^PVE:([^:]+):([0-9A-F]+)::(\w+)$/.exec(decodeURIComponent(cookie)) ?? [];
    if (!id || !time || !mac || !same(mac, this.#sign(`ticket ${id} ${time}`)))
      throw new PveError(401, 'permission denied - invalid PVE ticket');
    if (method !== 'GET' && !same(String(headers.csrfpreventiontoken ?? ''), this.#csrf(id)))
      throw new PveError(401, 'Permission denied - invalid csrf token');
    return { id, isRoot: true };
  }

  /** POST /access/ticket. @throws PveError 401 */
  login(username: string, password: string): { username: string; ticket: string; CSRFPreventionToken: string } {
    if (!this.#user || username !== this.#user.id || !same(password, this.#user.password))
      throw new PveError(401, 'authentication failure');
    const time = Math.floor(Date.now() / 1000)
      .toString(16)
      .toUpperCase();
    const ticket = `PVE:${username}:${time}::${this.#sign(`ticket ${username} ${time}`)}`;
    return { username, ticket, CSRFPreventionToken: this.#csrf(username) };
  }

  /** Privileges at a path: those of the deepest path above it that has any, plus those of the VM's pool. */
  privileges(path: string, pool?: string): ReadonlySet<string> {
    const own = ancestors(path).find((ancestor) => ancestor in this.#privileges);
    const poolOwn = pool === undefined ? undefined : ancestors(`/pool/${pool}`).find((a) => a in this.#privileges);
    return new Set([
      ...(own ? (this.#privileges[own] ?? []) : []),
      ...(poolOwn ? (this.#privileges[poolOwn] ?? []) : []),
    ]);
  }

  paths(): string[] {
    return Object.keys(this.#privileges);
  }

  has(identity: Identity, path: string, privileges: readonly string[], any = false, pool?: string): boolean {
    if (identity.isRoot) return true;
    const held = this.privileges(path, pool);
    return any ? privileges.some((p) => held.has(p)) : privileges.every((p) => held.has(p));
  }

  /** @throws PveError 403 in Proxmox's words */
  require(identity: Identity, path: string, privileges: readonly string[], any = false, pool?: string): void {
    if (!this.has(identity, path, privileges, any, pool)) throw denied(path, privileges, any);
  }

  #csrf(id: string): string {
    return `00000000:${this.#sign(`csrf ${id}`)}`;
  }

  #sign(text: string): string {
    return createHmac('sha256', this.#key).update(text).digest('hex');
  }
}

/** "/vms/200", "/vms", "/". */
function ancestors(path: string): string[] {
  const parts = path.split('/').filter(Boolean);
  return [...parts.map((_, i) => `/${parts.slice(0, parts.length - i).join('/')}`), '/'];
}

function same(a: string, b: string): boolean {
  const [x, y] = [Buffer.from(a), Buffer.from(b)];
  return x.length === y.length && timingSafeEqual(x, y);
}
