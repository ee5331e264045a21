import { isRecord } from './thing.ts';

/**
 * Fields of an object as server-side apply sees them: a path to each leaf. Arrays whose items have a key
 * (containers by name) are merged item by item, all others are one leaf.
 */
export type Path = readonly (string | ItemKey)[];
type ItemKey = { key: Record<string, unknown> };

/** Keys of arrays that are merged, by the field that holds the array. */
const MERGED: Record<string, string[]> = {
  containers: ['name'],
  initContainers: ['name'],
  env: ['name'],
  volumes: ['name'],
  volumeMounts: ['mountPath'],
  imagePullSecrets: ['name'],
  conditions: ['type'],
  ownerReferences: ['uid'],
};

/** `ports` is keyed differently in a Service and in a container. */
function keysOf(field: string, items: readonly unknown[]): string[] | undefined {
  if (field !== 'ports') return MERGED[field];
  const first = items[0];
  if (!isRecord(first)) return undefined;
  return 'containerPort' in first ? ['containerPort', 'protocol'] : 'port' in first ? ['port', 'protocol'] : undefined;
}

/** Every leaf of a value with its path; an empty record is a leaf too. */
export function leaves(value: unknown, path: Path = []): [Path, unknown][] {
  if (isRecord(value)) {
    const entries = Object.entries(value).filter(([, v]) => v !== undefined && v !== null);
    if (entries.length === 0) return path.length === 0 ? [] : [[path, value]];
    return entries.flatMap(([key, v]) => leaves(v, [...path, key]));
  }
  const field = path.at(-1);
  if (Array.isArray(value) && typeof field === 'string') {
    const keys = keysOf(field, value);
    if (keys && value.length > 0 && value.every(isRecord))
      return value.flatMap((item) => leaves(item, [...path, { key: itemKey(item, keys) }]));
  }
  return [[path, value]];
}

function itemKey(item: Record<string, unknown>, keys: string[]): Record<string, unknown> {
  return Object.fromEntries(keys.map((key) => [key, item[key] ?? (key === 'protocol' ? 'TCP' : undefined)]));
}

/** ".spec.template.spec.containers[name="web"].image", as conflicts name fields. */
export function pathText(path: Path): string {
  return path
    .map((part) =>
      typeof part === 'string'
        ? /^[A-Za-z0-9_-]+$/.test(part)
          ? `.${part}`
          : `.${JSON.stringify(part).slice(1, -1)}`
        : `[${Object.entries(part.key)
            .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
            .join(',')}]`,
    )
    .join('');
}

export function read(root: unknown, path: Path): unknown {
  let value = root;
  for (const part of path) value = child(value, part);
  return value;
}

/** Sets a leaf in place, making what lies on the way. */
export function write(root: Record<string, unknown>, path: Path, leaf: unknown): void {
  let value: unknown = root;
  path.forEach((part, index) => {
    const last = index === path.length - 1;
    if (typeof part === 'string' && isRecord(value)) {
      if (last) value[part] = leaf;
      else if (child(value, part) === undefined) value[part] = typeof path[index + 1] === 'string' ? {} : [];
    } else if (typeof part !== 'string' && Array.isArray(value)) {
      const at = value.findIndex((item) => matches(item, part));
      if (last && at >= 0) value[at] = leaf;
      else if (at < 0) value.push(last ? leaf : { ...part.key });
    }
    value = child(value, part);
  });
}

/** Removes a leaf in place, and what became empty by it. Without its key an item of a merged array is gone whole. */
export function remove(root: Record<string, unknown>, path: Path): void {
  const [holding, field] = path.slice(-2);
  if (typeof field === 'string' && typeof holding === 'object' && field in holding.key) {
    remove(root, path.slice(0, -1));
    return;
  }
  for (let depth = path.length; depth > 0; depth--) {
    const holder = read(root, path.slice(0, depth - 1));
    const part = path[depth - 1];
    if (part === undefined) return;
    const value = child(holder, part);
    const empty = isRecord(value) ? Object.keys(value).length === 0 : Array.isArray(value) && value.length === 0;
    const bareItem = typeof part !== 'string' && isRecord(value) && Object.keys(value).every((key) => key in part.key);
    if (depth < path.length && !empty && !bareItem) return; // something else is in there
    if (typeof part === 'string' && isRecord(holder)) delete holder[part];
    else if (typeof part !== 'string' && Array.isArray(holder)) {
      const at = holder.findIndex((item) => matches(item, part));
      if (at >= 0) holder.splice(at, 1);
    }
  }
}

function child(value: unknown, part: string | ItemKey): unknown {
  if (typeof part === 'string') return isRecord(value) ? value[part] : undefined;
  return Array.isArray(value) ? value.find((item) => matches(item, part)) : undefined;
}

function matches(item: unknown, { key }: ItemKey): boolean {
  return (
    isRecord(item) &&
    Object.entries(key).every(([name, value]) => (item[name] ?? (name === 'protocol' ? 'TCP' : undefined)) === value)
  );
}
