// Reading of values that others wrote (people, API servers), where anything may be missing or something else.

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

/**
 * The value at a path that is itself data, as in a Condition: `a.b.0.c` goes into lists, and `conditions[Ready]`
 * finds the entry of that type. Where the path is known in the code, `dig` says the same without a language.
 */
export function at(value: unknown, path: string): unknown {
  return (path.match(/[^.[\]]+|\[[^\]]+\]/g) ?? []).reduce<unknown>(
    (found, part) =>
      part.startsWith('[') ? mapsIn(found).find(({ type }) => type === part.slice(1, -1)) : dig(found, part),
    value,
  );
}

/** A mapping of keys to values. */
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
