import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { dig, isMap, mapsIn, textOf } from '../loose.ts';
import type { Notify } from './schema.ts';
import { notifySchema } from './schema-backup.ts';

/** What a homelab.yaml says of its notifications, though the rest of it may be wrong. */
export type LooseNotify = { lab: string; notify: Notify; servers: string[] };

/**
 * Reads `backup.notify` by itself, key by key: whoever waits for news of a backup must hear that its homelab.yaml is
 * wrong.
 * @returns undefined where there is none, or where the file is no YAML at all
 */
export function looseNotify(file: string): LooseNotify | undefined {
  let raw: unknown;
  try {
    raw = parse(readFileSync(file, 'utf8'), { strict: false, uniqueKeys: false, logLevel: 'silent' });
  } catch {
    return undefined;
  }
  const section = dig(raw, 'backup', 'notify');
  if (!isMap(section)) return undefined;
  const right = Object.entries(notifySchema.shape).flatMap(([key, schema]) =>
    key in section && schema.safeParse(section[key]).success ? [[key, section[key]]] : [],
  );
  return {
    lab: textOf(dig(raw, 'name')) ?? 'unknown',
    notify: notifySchema.parse(Object.fromEntries(right)),
    servers: mapsIn(dig(raw, 'backup', 'postgresql')).flatMap(({ name }) => textOf(name) ?? []),
  };
}
