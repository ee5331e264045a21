import { z } from 'zod';

/**
 * What a set says about itself (manifest.json) and what its proof found (verify.json). Secrets stand in neither:
 * of database settings only the names are kept.
 */

const content = z.strictObject({ rows: z.int(), hash: z.string() });
const file = z.strictObject({ file: z.string(), bytes: z.int(), sha256: z.string().regex(/^[0-9a-f]{64}$/) });

const database = z.strictObject({
  ...file.shape,
  owner: z.string(),
  encoding: z.string(),
  collate: z.string().nullable(),
  ctype: z.string().nullable(),
  /** c (libc), i (ICU), b (built-in); PostgreSQL 14 and older know libc only. */
  provider: z.string(),
  locale: z.string().nullable(),
  settings: z.array(z.string()),
  extensions: z.record(z.string(), z.string()),
  /** By "schema"."table": exact rows in the snapshot that was dumped, and a hash of them in any order. */
  tables: z.record(z.string(), content),
  large_objects: content,
});

const manifest = z.strictObject({
  format: z.literal(1),
  run: z.string(),
  lab: z.string(),
  server: z.string(),
  system_identifier: z.string(),
  started: z.string(),
  finished: z.string(),
  versions: z.strictObject({ server: z.string(), client: z.string() }),
  /** The role that initdb made; roles granted by it need it under the same name. */
  bootstrap_role: z.string(),
  roles: z.array(z.string()),
  discovered: z.array(z.string()),
  excluded: z.array(z.string()),
  databases: z.record(z.string(), database),
  globals: file,
  /** The newest set of this lineage when the run began. */
  previous: z.string().nullable(),
});

const report = z.strictObject({
  format: z.literal(1),
  set: z.string(),
  ok: z.boolean(),
  checked: z.string(),
  seconds: z.number(),
  /** Version of the throw-away server into which it was restored. */
  server_version: z.string(),
  manifest_sha256: z.string(),
  databases: z.int(),
  tables: z.int(),
  rows: z.int(),
  problems: z.array(z.string()),
  /** Where the throw-away server had to differ from the real one. */
  differences: z.array(z.string()),
});
const sealed = z.strictObject({ report, sha256: z.string() });

export type Content = z.output<typeof content>;
export type DumpedDatabase = z.output<typeof database>;
export type HashedFile = z.output<typeof file>;
export type Manifest = z.output<typeof manifest>;
export type ProofReport = z.output<typeof report>;

export function manifestText(value: Manifest): string {
  return `${JSON.stringify(value, null, 1)}\n`;
}

/** @returns the manifest, or why the text is none */
export function parseManifest(text: string): Manifest | { damaged: string } {
  return parsed(manifest, text);
}

/** verify.json carries its own hash: a flipped bit in it must not pass for a proof. */
export function reportText(value: ProofReport, sha256: (text: string) => string): string {
  return `${JSON.stringify({ report: value, sha256: sha256(JSON.stringify(value)) }, null, 1)}\n`;
}

/** @returns the report, or why the text is none */
export function parseReport(text: string, sha256: (text: string) => string): ProofReport | { damaged: string } {
  const value = parsed(sealed, text);
  if ('damaged' in value) return value;
  return reportText(value.report, sha256) === text ? value.report : { damaged: 'its own hash does not match' };
}

function parsed<T extends z.ZodType>(schema: T, text: string): z.output<T> | { damaged: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { damaged: 'it is not JSON' };
  }
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  return { damaged: `${issue?.path.join('.') || 'it'}: ${issue?.message}` };
}

/** Lines of SHA256SUMS, as `sha256sum -c` reads them. */
export function sumsText(files: readonly HashedFile[]): string {
  return files.map(({ file: name, sha256 }) => `${sha256}  ${name}\n`).join('');
}
