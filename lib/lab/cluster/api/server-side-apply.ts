import { FieldConflict } from './errors.ts';
import { leaves, type Path, pathText, read, remove, write } from './fields.ts';
import { isRecord, type Thing } from './thing.ts';

/** Who set which field, by its path in text; managers as a conflict names them: "homelab", or "k3s" using v1. */
export type Owners = Map<string, { path: Path; managers: Set<string> }>;

/**
 * Server-side apply: what `manager` says now replaces what it said before, and nothing else.
 * @param live the object as it is; undefined for a new one
 * @returns the merged object and its owners; both inputs stay as they are
 * @throws FieldConflict when another manager set one of these fields to something else
 */
export function serverSideApply(
  live: Thing | undefined,
  owners: Owners,
  applied: Thing,
  manager: string,
  force: boolean,
): { object: Thing; owners: Owners } {
  const said = leaves(fieldsOf(applied));
  const conflicts = said.flatMap(([path, value]) => {
    const before = read(live, path);
    const others = [...(owners.get(pathText(path))?.managers ?? [])].filter((name) => name !== manager);
    if (before === undefined || says(before, value)) return [];
    return others.map((name) => ({ manager: name, path: pathText(path) }));
  });
  if (conflicts.length > 0 && !force) throw new FieldConflict(conflicts);

  const object = live ? structuredClone(live) : identity(applied);
  const next: Owners = new Map(
    [...owners].map(([key, { path, managers }]) => [key, { path, managers: new Set(managers) }]),
  );
  const now = new Set(said.map(([path]) => pathText(path)));
  for (const [key, { path, managers }] of next) {
    if (now.has(key) || !managers.delete(manager) || managers.size > 0) continue;
    next.delete(key);
    // A map that was asked for empty goes only while it is: others may have put something into it.
    const left = read(object, path);
    if (!isRecord(left) || Object.keys(left).length === 0) remove(object, path);
  }
  for (const [path, value] of said) {
    const key = pathText(path);
    const changed = !says(read(object, path), value);
    if (changed) write(object, path, structuredClone(value));
    const managers = next.get(key)?.managers ?? new Set<string>();
    if (changed) managers.clear();
    next.set(key, { path, managers: managers.add(manager) });
  }
  return { object, owners: next };
}

/** How a manager that applies is named, and one that updates: they are two, also under one name. */
export const applier = (manager: string): string => `"${manager}"`;
export const updater = (manager: string, { apiVersion }: Thing): string => `"${manager}" using ${apiVersion}`;

/** An update by `manager`: the fields that it changed are its own now. */
export function ownersAfterUpdate(before: Thing | undefined, after: Thing, owners: Owners, manager: string): Owners {
  const next: Owners = new Map(owners);
  const now = leaves(fieldsOf(after));
  const paths = new Set(now.map(([path]) => pathText(path)));
  for (const key of next.keys()) if (!paths.has(key)) next.delete(key);
  for (const [path, value] of now)
    if (!before || !same(read(before, path), value))
      next.set(pathText(path), { path, managers: new Set([updater(manager, after)]) });
  return next;
}

/** What can be owned: not the identity, not the status, not what the server sets. */
function fieldsOf(object: Thing): Record<string, unknown> {
  const { apiVersion: _apiVersion, kind: _kind, status: _status, metadata, ...rest } = object;
  const { labels, annotations, ownerReferences, finalizers } = metadata;
  const owned = Object.entries({ labels, annotations, ownerReferences, finalizers }).filter(
    ([, value]) => value !== undefined,
  );
  return owned.length > 0 ? { ...rest, metadata: Object.fromEntries(owned) } : rest;
}

function identity({ apiVersion, kind, metadata: { name, namespace } }: Thing): Thing {
  return { apiVersion, kind, metadata: namespace ? { name, namespace } : { name } };
}

/** Whether what is applied is there already. An empty map asks for a map only: what others have in it stays. */
function says(live: unknown, value: unknown): boolean {
  return same(live, value) || (isRecord(live) && isRecord(value) && Object.keys(value).length === 0);
}

export function same(a: unknown, b: unknown): boolean {
  return a === b || JSON.stringify(sorted(a)) === JSON.stringify(sorted(b));
}

/** Keys in order, so that two spellings of one object compare equal. */
export function sorted(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sorted);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, v]) => v !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
      .map(([key, v]) => [key, sorted(v)]),
  );
}
