import type { Identity } from './access.ts';
import type { Cluster } from './cluster.ts';
import { deniedWithoutReason, PveError, rootOnly } from './errors.ts';
import { type Kind, type Params, type Spec, verify } from './params.ts';
import { gatewayError } from './reply.ts';

/** A request that has passed authentication, and what it is about. */
export type Call = {
  cluster: Cluster;
  who: Identity;
  /** Values of {node}, {vmid}, {storage}, … of the path. */
  path: Record<string, string>;
  params: Params;
  /** A file that came with a multipart body. */
  upload?: Upload;
};

export type Upload = { field: string; filename: string; bytes: number; sha256: string };

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/** Privileges at a path, in which {vmid} etc. stand for values of the request; `any`: one of them is enough. */
export type Need = { at: string; have: readonly string[]; any?: boolean };

/** What a call needs: all of it, and one of each list of alternatives. */
export type Needs = readonly (Need | { or: readonly Need[] })[];

export type Route = {
  method: Method;
  path: string;
  needs?: Needs;
  spec?: Spec;
  kindOf?: (name: string) => Kind | undefined;
  handle: (call: Call) => unknown;
};

export function vmNeeds(...have: string[]): Need[] {
  return [{ at: '/vms/{vmid}', have }];
}

export type Found = { route: Route; path: Record<string, string> };

/** The route of a method and path. */
export class Router {
  readonly #routes: { route: Route; parts: string[] }[];

  constructor(routes: readonly Route[]) {
    this.#routes = routes.map((route) => ({ route, parts: split(route.path) }));
  }

  /** @throws PveError 501 as Proxmox says it for a path or method that does not exist */
  find(method: string, path: string): Found {
    const given = split(path);
    for (const { route, parts } of this.#routes) {
      const rest = route.path.endsWith('{volume}');
      if (route.method !== method || (rest ? given.length < parts.length : given.length !== parts.length)) continue;
      const values: Record<string, string> = {};
      const matches = parts.every((part, i) => {
        // A volume's name has slashes, which clients escape or not.
        const own = (rest && i === parts.length - 1 ? given.slice(i).join('/') : given[i]) ?? '';
        const name = /^\{(\w+)\}$/.exec(part)?.[1];
        if (name) values[name] = decodeURIComponent(own);
        return name !== undefined || part === own;
      });
      if (matches) return { route, path: values };
    }
    throw new PveError(501, `Method '${method} ${path}' not implemented`);
  }
}

/** Options that no token may use. */
const ROOT_ONLY = ['skiplock', 'keepActive'];

/** Permissions first, then parameters, then the work: the order of the real thing. */
export async function dispatch(
  { route, path }: Found,
  given: ReadonlyMap<string, string>,
  cluster: Cluster,
  who: Identity,
  upload?: Upload,
): Promise<unknown> {
  if (path.node !== undefined) {
    cluster.node(path.node);
    if (cluster.faults.isDown(path.node)) throw gatewayError(595);
  }
  checkNeeds(route.needs ?? [], cluster, who, (name) => path[name] ?? given.get(name) ?? '');
  if (path.vmid !== undefined) verify(new Map([['vmid', path.vmid]]), { vmid: 'vmid' });
  const params = verify(given, route.spec ?? {}, route.kindOf);
  for (const name of ROOT_ONLY) if (params.flag(name) && !who.isRoot) throw rootOnly(name);
  return route.handle({ cluster, who, path, params, upload });
}

function checkNeeds(needs: Needs, cluster: Cluster, who: Identity, lookUp: (name: string) => string): void {
  const where = ({ at }: Need): { path: string; pool?: string } => {
    const path = at.replace(/\{(\w+)\}/g, (_, name: string) => lookUp(name)).replace(/\/$/, '');
    const vmid = /^\/vms\/(\d+)$/.exec(path)?.[1];
    return { path, pool: vmid === undefined ? undefined : cluster.poolOf(Number(vmid)) };
  };
  const isMet = (need: Need): boolean => {
    const { path, pool } = where(need);
    // The pool counts only where one is given.
    return path !== '/pool' && cluster.access.has(who, path, need.have, need.any, pool);
  };
  for (const need of needs) {
    if ('or' in need) {
      if (!need.or.some(isMet)) throw deniedWithoutReason();
    } else {
      const { path, pool } = where(need);
      cluster.access.require(who, path, need.have, need.any, pool);
    }
  }
}

function split(path: string): string[] {
  return path.split('/').filter(Boolean);
}
