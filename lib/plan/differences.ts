import { isMap } from '../loose.ts';
import type { KubeObject } from '../step.ts';
import { sameQuantity } from './quantity.ts';

/**
 * Compares an object that we want with the one that the API server holds. The server adds to what it is
 * given (defaults, status, fields of other managers) and rewrites some of it (quantities, empty values); so
 * what is wanted must be *contained* in what lives, up to that.
 */

/** Why `desired` must be applied: "absent", "spec.replicas differs"; undefined when nothing would change. */
export function needsApply(desired: KubeObject, live: KubeObject | undefined): string | undefined {
  if (!live) return 'absent';
  if (live.metadata.deletionTimestamp) return 'is being deleted';
  const paths = differences(desired, live);
  if (paths.length === 0) return undefined;
  const named = paths.slice(0, 3).join(', ');
  return `${named}${paths.length > 3 ? ` and ${paths.length - 3} more` : ''} ${paths.length === 1 ? 'differs' : 'differ'}`;
}

/**
 * Paths of `desired` whose value is not in `live`, such as `spec.template.spec.containers[name=web].image`.
 * Empty: applying `desired` would change nothing. `status` and what the server sets in `metadata` are not compared.
 */
export function differences(desired: KubeObject, live: KubeObject): string[] {
  const { metadata, status: _status, stringData, ...rest } = desired as KubeObject & { stringData?: unknown };
  const wanted: Record<string, unknown> = { ...rest };
  if (stringData) wanted.data = { ...(isMap(rest.data) ? rest.data : {}), ...encoded(stringData) };
  const { name, namespace, labels, annotations } = metadata;
  return [
    ...compare({ name, ...(namespace && { namespace }), labels, annotations }, live.metadata, ['metadata'], 'metadata'),
    ...compare(wanted, live, [], ''),
  ];
}

/** Lists that the server merges by a key; in every other list order and length count. */
const MERGED_BY: Record<string, readonly string[]> = {
  containers: ['name'],
  initContainers: ['name'],
  ephemeralContainers: ['name'],
  env: ['name'],
  volumes: ['name'],
  volumeMounts: ['mountPath'],
  volumeDevices: ['devicePath'],
  imagePullSecrets: ['name'],
  hostAliases: ['ip'],
  topologySpreadConstraints: ['topologyKey', 'whenUnsatisfiable'],
  ownerReferences: ['uid'],
};
/** `ports` is two lists by one name: a container's and a service's. */
const PORT_KEYS = ['containerPort', 'port'] as const;

/** Fields that the server leaves out when they are false, 0 or empty; elsewhere a missing value is not the same. */
const OMITTED = new Set([
  ...['hostNetwork', 'hostPID', 'hostIPC', 'tty', 'stdin', 'stdinOnce', 'readOnly', 'paused', 'unschedulable'],
  ...['publishNotReadyAddresses', 'minReadySeconds', 'initialDelaySeconds', 'nodePort', 'hostPort', 'env.value'],
]);

/** Maps whose values are quantities: "1Gi" there is the same as "1024Mi". */
const QUANTITIES = new Set(['limits', 'requests', 'capacity', 'hard', 'overhead', 'allocatable']);

function compare(desired: unknown, live: unknown, keys: readonly string[], path: string): string[] {
  if (desired === undefined || same(desired, live, keys)) return [];
  if (Array.isArray(desired) && Array.isArray(live)) return compareLists(desired, live, keys, path);
  if (isMap(desired) && isMap(live)) {
    return Object.entries(desired).flatMap(([key, value]) =>
      compare(value, live[key], [...keys, key], path === '' ? key : `${path}${segment(key)}`),
    );
  }
  return [path];
}

function compareLists(desired: unknown[], live: unknown[], keys: readonly string[], path: string): string[] {
  const identity = identityIn(keys.at(-1) ?? '', [...desired, ...live]);
  if (!identity) {
    if (desired.length !== live.length) return [path];
    return desired.flatMap((item, i) => compare(item, live[i], keys, `${path}[${i}]`));
  }
  return desired.flatMap((item) => {
    const id = identity(item);
    const other = live.find((candidate) => identity(candidate) === id);
    return other === undefined ? [`${path}[${id}]`] : compare(item, other, keys, `${path}[${id}]`);
  });
}

/** What makes an item of this list the same item, or undefined for a list without keys. */
function identityIn(field: string, items: unknown[]): ((item: unknown) => string) | undefined {
  if (!items.every(isMap)) return undefined;
  if (field === 'ports') {
    const key = PORT_KEYS.find((k) => items.every((item) => k in item));
    return key && ((item) => (isMap(item) ? `${key}=${item[key]}/${item.protocol ?? 'TCP'}` : ''));
  }
  const names = MERGED_BY[field];
  if (!names || !items.every((item) => names.every((name) => name in item))) return undefined;
  return (item) => names.map((name) => `${name}=${isMap(item) ? item[name] : ''}`).join(',');
}

function same(desired: unknown, live: unknown, keys: readonly string[]): boolean {
  if (Object.is(desired, live)) return true;
  const [parent, key] = [keys.at(-2) ?? '', keys.at(-1) ?? ''];
  if (live === undefined || live === null) return isNothing(desired, parent, key);
  if (QUANTITIES.has(parent) || key === 'sizeLimit') return sameQuantity(desired, live);
  return false;
}

/** Values that the server stores by leaving them out. */
function isNothing(value: unknown, parent: string, key: string): boolean {
  if (value === undefined || value === null) return true;
  if (Array.isArray(value)) return value.length === 0;
  if (isMap(value)) return Object.values(value).every((v) => v === undefined || v === null);
  return (value === false || value === 0 || value === '') && (OMITTED.has(key) || OMITTED.has(`${parent}.${key}`));
}

/** A Secret's `stringData` is written as text and read as base64 under `data`. */
function encoded(stringData: unknown): Record<string, string> {
  if (!isMap(stringData)) return {};
  return Object.fromEntries(Object.entries(stringData).map(([key, text]) => [key, btoa(binary(String(text)))]));
}

/** UTF-8 as the string of bytes that btoa takes. */
function binary(text: string): string {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

function segment(key: string): string {
  return /^[\w-]+$/.test(key) ? `.${key}` : `["${key}"]`;
}
