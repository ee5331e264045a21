import { itemsAt, recordAt, type Thing, textAt } from '../api/thing.ts';
import type { Cluster } from '../cluster.ts';
import { hasEndpoints } from '../controllers/endpoints.ts';

export type EntryPoint = 'web' | 'websecure';
export type Reply = {
  status: number;
  headers: Record<string, string>;
  body: string;
  backend?: { host: string; port: number };
};

const NOT_FOUND: Reply = {
  status: 404,
  headers: { 'content-type': 'text/plain; charset=utf-8' },
  body: '404 page not found\n',
};
const ANNOTATION = 'traefik.ingress.kubernetes.io/router';

/** What Traefik answers to a request at an entry point, by the Ingress objects as they are now. */
export function answer(cluster: Cluster, entryPoint: EntryPoint, host: string, path: string): Reply {
  const route = routeFor(cluster, entryPoint, host, path);
  if (!route) return NOT_FOUND;
  const { ingress, rule } = route;
  for (const middleware of middlewaresOf(cluster, ingress)) {
    // A router with a middleware that is not there does not come up.
    if (!middleware) return NOT_FOUND;
    const redirect = recordAt(middleware, 'spec').redirectScheme;
    if (redirect !== undefined && entryPoint === 'web')
      return {
        status: recordAt(middleware, 'spec.redirectScheme').permanent === true ? 301 : 302,
        headers: { location: `${textAt(redirect, 'scheme') || 'https'}://${host}${portOf(redirect)}${path}` },
        body: '',
      };
  }
  return toBackend(cluster, ingress.metadata.namespace ?? '', rule);
}

function portOf(redirect: unknown): string {
  const port = textAt(redirect, 'port');
  return port && port !== '443' ? `:${port}` : '';
}

/** The most specific path of the Ingresses for a host; those of another class, or of another entry point, have none. */
function routeFor(
  cluster: Cluster,
  entryPoint: EntryPoint,
  host: string,
  path: string,
): { ingress: Thing; rule: unknown } | undefined {
  const matches = cluster.store
    .list('networking.k8s.io/v1', 'Ingress')
    .filter((ingress) => textAt(ingress, 'spec.ingressClassName') === 'traefik' && listens(ingress, entryPoint))
    .flatMap((ingress) =>
      itemsAt(ingress, 'spec.rules')
        .filter((rule) => hostMatches(textAt(rule, 'host'), host))
        .flatMap((rule) =>
          itemsAt(rule, 'http.paths').map((entry) => ({ ingress, rule: entry, length: matchLength(entry, path) })),
        ),
    )
    .filter(({ length }) => length > 0);
  return matches.sort((a, b) => b.length - a.length)[0];
}

/** On both entry points, unless annotations say otherwise: `router.tls: "true"` makes it a router for TLS only. */
function listens({ metadata }: Thing, entryPoint: EntryPoint): boolean {
  const { annotations = {} } = metadata;
  const entryPoints = annotations[`${ANNOTATION}.entrypoints`];
  if (entryPoints && !entryPoints.split(',').includes(entryPoint)) return false;
  return entryPoint === 'websecure' || annotations[`${ANNOTATION}.tls`] !== 'true';
}

function hostMatches(pattern: string, host: string): boolean {
  if (pattern === '' || pattern === host) return true;
  return pattern.startsWith('*.') && host.split('.').slice(1).join('.') === pattern.slice(2);
}

function matchLength(entry: unknown, path: string): number {
  const wanted = textAt(entry, 'path') || '/';
  const plain = path.split('?')[0] ?? '/';
  if (textAt(entry, 'pathType') === 'Exact') return plain === wanted ? wanted.length + 1 : 0;
  const prefix = wanted.replace(/\/$/, '');
  return plain === prefix || plain.startsWith(`${prefix}/`) ? prefix.length + 1 : 0;
}

/** "NAMESPACE-NAME@kubernetescrd", in the order of the annotation; undefined for one that is not there. */
function middlewaresOf(cluster: Cluster, ingress: Thing): (Thing | undefined)[] {
  const names = ingress.metadata.annotations?.[`${ANNOTATION}.middlewares`];
  const all = cluster.store.list('traefik.io/v1alpha1', 'Middleware');
  return (names ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter(Boolean)
    .map((name) => all.find(({ metadata }) => `${metadata.namespace}-${metadata.name}@kubernetescrd` === name));
}

function toBackend(cluster: Cluster, namespace: string, rule: unknown): Reply {
  const name = textAt(rule, 'backend.service.name');
  const number = textAt(rule, 'backend.service.port.number') || textAt(rule, 'backend.service.port.name');
  const service = cluster.store.get('v1', 'Service', name, namespace);
  const port = itemsAt(service, 'spec.ports').find((p) => String(p.port) === number || p.name === number);
  const unavailable = {
    status: 503,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    body: 'no available server\n',
  };
  if (!service || !port || !hasEndpoints(cluster, namespace, name)) return unavailable;
  return served(cluster, namespace, name, number);
}

/** What an emulated application says of itself. */
export function served(cluster: Cluster, namespace: string, name: string, port: string): Reply {
  return {
    status: 200,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    body: `service ${namespace}/${name}:${port}\n`,
    backend: cluster.backends.get(`${namespace}/${name}`),
  };
}

/** The certificate that is shown for a name: of the Secret of an Ingress that lists it. */
export function certificateFor(cluster: Cluster, serverName: string): { cert: string; key: string } | undefined {
  for (const ingress of cluster.store.list('networking.k8s.io/v1', 'Ingress'))
    for (const tls of itemsAt(ingress, 'spec.tls')) {
      const hosts = Array.isArray(tls.hosts) ? tls.hosts.map(String) : [];
      if (!hosts.some((pattern) => hostMatches(pattern, serverName))) continue;
      const secret = cluster.store.get('v1', 'Secret', textAt(tls, 'secretName'), ingress.metadata.namespace);
      const data = recordAt(secret, 'data');
      if (typeof data['tls.crt'] !== 'string' || typeof data['tls.key'] !== 'string') continue;
      const text = (base64: string): string => Buffer.from(base64, 'base64').toString();
      return { cert: text(data['tls.crt']), key: text(data['tls.key']) };
    }
  return undefined;
}
