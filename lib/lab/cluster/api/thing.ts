import { at } from '../../../loose.ts';

/** An object of the emulated API server. */
export type Thing = {
  apiVersion: string;
  kind: string;
  metadata: Meta;
  [key: string]: unknown;
};

export type Meta = {
  name: string;
  namespace?: string;
  uid?: string;
  resourceVersion?: string;
  generation?: number;
  creationTimestamp?: string;
  deletionTimestamp?: string;
  labels?: Record<string, string>;
  annotations?: Record<string, string>;
  ownerReferences?: OwnerReference[];
  [key: string]: unknown;
};

export type OwnerReference = { apiVersion: string; kind: string; name: string; uid: string; controller?: boolean };

/** What a value of an object may be reached by: "spec.rules.0.host", "status.conditions[Ready].status". */
export const valueAt = at;

export function textAt(object: unknown, path: string): string {
  const value = at(object, path);
  return typeof value === 'string' ? value : value === undefined || value === null ? '' : String(value);
}

export function numberAt(object: unknown, path: string, otherwise = 0): number {
  const value = at(object, path);
  return typeof value === 'number' ? value : otherwise;
}

export function recordAt(object: unknown, path: string): Record<string, unknown> {
  const value = at(object, path);
  return isRecord(value) ? value : {};
}

/** Labels, selectors and the like. */
export function textsAt(object: unknown, path: string): Record<string, string> {
  return Object.fromEntries(Object.entries(recordAt(object, path)).map(([key, value]) => [key, String(value)]));
}

/** The records of an array; nothing for what is none. */
export function itemsAt(object: unknown, path: string): Record<string, unknown>[] {
  const value = at(object, path);
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `all` of the labels are there. An empty selector selects nothing here, as in a Service. */
export function selects(selector: Record<string, string>, labels: Record<string, string> = {}): boolean {
  const wanted = Object.entries(selector);
  return wanted.length > 0 && wanted.every(([key, value]) => labels[key] === value);
}

/** "namespace/name", or "name" without a namespace. */
export function fullName(object: { metadata: { name: string; namespace?: string } }): string {
  const { name, namespace } = object.metadata;
  return namespace ? `${namespace}/${name}` : name;
}

export function ownerOf(object: Thing): OwnerReference {
  return {
    apiVersion: object.apiVersion,
    kind: object.kind,
    name: object.metadata.name,
    uid: object.metadata.uid ?? '',
    controller: true,
  };
}

export function isOwnedBy(object: Thing, owner: Thing): boolean {
  return (object.metadata.ownerReferences ?? []).some((reference) => reference.uid === owner.metadata.uid);
}

export type ConditionStatus = 'True' | 'False' | 'Unknown';

/** The conditions of an object with one of them set; its lastTransitionTime moves only when the status does. */
export function withCondition(
  object: Thing,
  type: string,
  status: ConditionStatus,
  reason: string,
  message: string,
): Record<string, unknown>[] {
  const conditions = itemsAt(object, 'status.conditions');
  const before = conditions.find((condition) => condition.type === type);
  const lastTransitionTime =
    before?.status === status ? before.lastTransitionTime : new Date().toISOString().replace(/\.\d+Z$/, 'Z');
  const next = { type, status, reason, message, lastTransitionTime };
  return before ? conditions.map((condition) => (condition === before ? next : condition)) : [...conditions, next];
}

/** A short hash for generated names that must be the same in each run. */
export function shortHash(text: string, length = 5): string {
  let hash = 2166136261;
  for (const char of text) hash = Math.imul(hash ^ (char.codePointAt(0) ?? 0), 16777619) >>> 0;
  const alphabet = 'bcdfghjklmnpqrstvwxz2456789';
  let out = '';
  for (let left = length; left > 0; left--) {
    out += alphabet[hash % alphabet.length];
    hash = Math.imul(hash ^ left, 16777619) >>> 0;
  }
  return out;
}
