import type { Identity } from './access.ts';
import type { Cluster } from './cluster.ts';
import { PveError } from './errors.ts';
import { type Kind, type Params, type Spec, verify } from './params.ts';

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

export type Route = {
  method: Method;
  path: string;
  needs?: readonly Need[];
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
    if (cluster.faults.isDown(path.node)) throw new PveError(595, 'No route to host');
  }
  for (const { at, have, any } of route.needs ?? []) {
    const concrete = at.replace(/\{(\w+)\}/g, (_, name: string) => path[name] ?? given.get(name) ?? '');
    const vmid = /^\/vms\/(\d+)$/.exec(concrete)?.[1];
    const pool = vmid === undefined ? undefined : (cluster.poolOf(Number(vmid)) ?? given.get('pool'));
    cluster.access.require(who, concrete, have, any, pool);
  }
  if (path.vmid !== undefined) verify(new Map([['vmid', path.vmid]]), { vmid: 'vmid' });
  const params = verify(given, route.spec ?? {}, route.kindOf);
  return route.handle({ cluster, who, path, params, upload });
}

function split(path: string): string[] {
  return path.split('/').filter(Boolean);
}
