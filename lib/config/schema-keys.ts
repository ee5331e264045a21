import { z } from 'zod';
import { configSchema } from './schema.ts';

/** homelab.yaml's schema as JSON Schema, which editors use to complete and check it. */
export function jsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(configSchema, { io: 'input' }) as Record<string, unknown>;
}

type Node = { properties?: Record<string, Node>; items?: Node; anyOf?: Node[] };

/** The keys that the schema knows at a path, for suggestions. */
export function knownKeys(path: readonly (string | number)[]): string[] {
  let node: Node | undefined = jsonSchema() as Node;
  for (const part of path) node = typeof part === 'number' ? node?.items : node?.properties?.[part];
  return Object.keys(node?.properties ?? {});
}
