import { z } from 'zod';
import { configSchema } from './schema.ts';

/** homelab.yaml's schema as JSON Schema, which editors use to complete and check it. */
function jsonSchema(): Record<string, unknown> {
  return z.toJSONSchema(configSchema, { io: 'input' }) as Record<string, unknown>;
}

/** The text of templates/homelab.schema.json. */
export function schemaText(): string {
  const schema = {
    title: 'homelab.yaml',
    description: 'Made from lib/config/schema.ts by `npm run schema`',
    ...jsonSchema(),
  };
  return `${JSON.stringify(schema, null, 2)}\n`;
}

type Node = { properties?: Record<string, Node>; items?: Node };
let root: Node | undefined;

/** The keys that the schema knows at a path, for suggestions. */
export function knownKeys(path: readonly (string | number)[]): string[] {
  root ??= jsonSchema() as Node;
  let node: Node | undefined = root;
  for (const part of path) node = typeof part === 'number' ? node?.items : node?.properties?.[part];
  return Object.keys(node?.properties ?? {});
}
