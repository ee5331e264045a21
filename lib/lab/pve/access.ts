import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { IncomingHttpHeaders } from 'node:http';
import { denied, PveError, unauthorized } from './errors.ts';
import type { Acl, TokenSpec } from './types.ts';

/** Who asks: a token ("homelab@pve!toolkit") or a user with a ticket ("root@pam"). */
export type Identity = { id: string; isRoot: boolean };

const VM_PRIVILEGES = [
  ...['VM.Allocate', 'VM.Audit', 'VM.Clone', 'VM.PowerMgmt', 'VM.Console', 'VM.Migrate'],
  ...['Disk', 'CDROM', 'CPU', 'Memory', 'Network', 'HWType', 'Options', 'Cloudinit'].map((x) => `VM.Config.${x}`),
  ...['VM.GuestAgent.Audit', 'VM.GuestAgent.FileRead'],
];

/** The least set that the toolkit needs, by ACL path. */
export function defaultPrivileges(bridge: string): Acl {
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
  readonly #acl: Acl;
  readonly #ownerAcl?: Acl;
  readonly #key = randomBytes(32);
  /** "PATH PRIVILEGE" of all that a token was asked for so far. */
  readonly asked = new Set<string>();

  constructor(token: TokenSpec, bridge: string, user?: { id: string; password: string }) {
    this.#token = token;
    this.#user = user;
    this.#acl = token.privileges ?? defaultPrivileges(bridge);
    this.#ownerAcl = token.ownerPrivileges;
  }

  /** Whose request it is. @param revoked as if the token had been removed. @throws PveError 401 */
  identify(headers: IncomingHttpHeaders, method: string, revoked = false): Identity {
    const [, tokenId, secret] = /^PVEAPIToken=([^=]+)=(.*)$/.exec(headers.authorization ?? '') ?? [];
    if (tokenId !== undefined && secret !== undefined) {
      if (tokenId !== this.#token.id || revoked) throw noSuchToken(tokenId);
      if (!same(secret, this.#token.secret)) throw unauthorized(401, 'invalid token value!');
      return { id: tokenId, isRoot: false };
    }
    const cookie = /(?:^|;\s*)PVEAuthCookie=([^;]+)/.exec(headers.cookie ?? '')?.[1];
    if (!cookie) throw unauthorized(401, 'No ticket');
    const [, id, time, mac] = /^PVE:([^:]+):([0-9A-F]+)::(\w+)$/.exec(decodeURIComponent(cookie)) ?? [];
    if (!id || !time || !mac || !same(mac, this.#sign(`ticket ${id} ${time}`)))
      throw unauthorized(401, 'permission denied - invalid PVE ticket');
    if (method !== 'GET' && !same(String(headers.csrfpreventiontoken ?? ''), this.#csrf(id)))
      throw unauthorized(401, 'Permission denied - invalid csrf token');
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

  /** Privileges at a path, with those of the VM's pool: what both the token and its owner have. */
  privileges(path: string, pool?: string): ReadonlySet<string> {
    const own = held(this.#acl, path, pool);
    if (!this.#ownerAcl) return own;
    const owner = held(this.#ownerAcl, path, pool);
    return new Set([...own].filter((privilege) => owner.has(privilege)));
  }

  /** Paths that GET /access/permissions speaks of: fixed ones, and all with an ACL. */
  paths(): string[] {
    const fixed = ['/', '/access', '/access/groups', '/nodes', '/pool', '/sdn', '/storage', '/vms'];
    return [...new Set([...fixed, ...Object.keys(this.#acl), ...Object.keys(this.#ownerAcl ?? {})])].sort();
  }

  has(identity: Identity, path: string, privileges: readonly string[], any = false, pool?: string): boolean {
    if (identity.isRoot) return true;
    for (const privilege of privileges) this.asked.add(`${path} ${privilege}`);
    const held = this.privileges(path, pool);
    return any ? privileges.some((p) => held.has(p)) : privileges.every((p) => held.has(p));
  }

  /** @throws PveError 403 in Proxmox's words, which name the first privilege that is missing, or all alternatives */
  require(identity: Identity, path: string, privileges: readonly string[], any = false, pool?: string): void {
    if (this.has(identity, path, privileges, any, pool)) return;
    const held = this.privileges(path, pool);
    throw denied(path, any ? privileges : privileges.filter((p) => !held.has(p)).slice(0, 1));
  }

  #csrf(id: string): string {
    return `00000000:${this.#sign(`csrf ${id}`)}`;
  }

  #sign(text: string): string {
    return createHmac('sha256', this.#key).update(text).digest('hex');
  }
}

function noSuchToken(id: string): PveError {
  const [user, name = ''] = id.split('!');
  return unauthorized(401, `no such token '${name}' for user '${user}'`);
}

/** Privileges of the deepest path at or above `path` that has an entry, and of the pool likewise. */
function held(acl: Acl, path: string, pool?: string): Set<string> {
  const at = (where: string): readonly string[] => acl[ancestors(where).find((above) => above in acl) ?? ''] ?? [];
  return new Set([...at(path), ...(pool === undefined ? [] : at(`/pool/${pool}`))]);
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
