/** Reading of values that a person wrote, where anything may be missing or something else. */

export type Loose = Record<string, unknown>;

/** The value at a path of keys and indices; undefined where the path ends early. */
export function dig(value: unknown, ...path: readonly (string | number)[]): unknown {
  let found = value;
  for (const key of path) {
    if (typeof found !== 'object' || found === null) return undefined;
    found = (found as Record<string | number, unknown>)[key];
  }
  return found;
}

export function isMap(value: unknown): value is Loose {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The maps of a list; none when it is no list. */
export function mapsIn(value: unknown): Loose[] {
  return Array.isArray(value) ? value.filter(isMap) : [];
}

/** The texts of a list; none when it is no list. */
export function textsIn(value: unknown): string[] {
  return Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];
}

/** A text that is not empty, or undefined. */
export function textOf(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}
