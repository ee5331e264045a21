import { z } from 'zod';

/**
 * What a set says about itself (manifest.json) and what its proof found (verify.json). Secrets stand in neither:
 * of database settings only the names are kept.
 */

const content = z.strictObject({ rows: z.int(), hash: z.string() });
const file = z.strictObject({ file: z.string(), bytes: z.int(), sha256: z.string().regex(/^[0-9a-f]{64}$/) });

const database = z.strictObject({
  ...file.shape,
  /** pg_dump's: one file, or a folder that `-j` wrote. Sets of before it was recorded have one file. */
  format: z.enum(['custom', 'directory']).optional(),
  /** Of a folder: its files, by their paths in the set; `bytes` is their sum, `sha256` that of their sums. */
  parts: z.array(file).optional(),
  owner: z.string(),
  encoding: z.string(),
  collate: z.string().nullable(),
  ctype: z.string().nullable(),
  /** c (libc), i (ICU), b (built-in); PostgreSQL 14 and older know libc only. */
  provider: z.string(),
  locale: z.string().nullable(),
  /** Of ICU, from PostgreSQL 16 on. */
  icu_rules: z.string().nullable().optional(),
  settings: z.array(z.string()),
  extensions: z.record(z.string(), z.string()),
  /** By "schema"."table": exact rows in the snapshot that was dumped, and a hash of them in any order. */
  tables: z.record(z.string(), content),
  /** How rows were hashed: see row-hash.ts. Sets of before it was recorded hashed each row as one text. */
  row_hash: z.enum(['columns']).optional(),
  large_objects: content,
  /**
   * By name, what it hands out next when the dump began, and when it had ended: a sequence stands outside of
   * snapshots, so its restored value lies between the two.
   */
  sequences: z.record(z.string(), z.strictObject({ from: z.string(), to: z.string() })).optional(),
  /** How many views, functions, triggers, … there are. */
  objects: z.record(z.string(), z.int()).optional(),
  /** Owners and grants, as lines. */
  grants: content.optional(),
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

export type Content = z.output<typeof content>;
export type DumpedDatabase = z.output<typeof database>;
export type HashedFile = z.output<typeof file>;
export type Manifest = z.output<typeof manifest>;
export type ProofReport = {
  format: 1;
  set: string;
  ok: boolean;
  checked: string;
  seconds: number;
  /** Version of the throw-away server into which it was restored. */
  server_version: string;
  manifest_sha256: string;
  databases: number;
  tables: number;
  rows: number;
  problems: string[];
  /** Where the throw-away server had to differ from the real one. */
  differences: string[];
  /** What this set holds that no proof looks at. */
  not_compared?: string[];
  /** Of the manifest that was proven, so that a list of thousands of sets need not read each. */
  of?: { server: string; system_identifier: string; bytes: number; databases: string[] };
};

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
  let value: { report?: ProofReport };
  try {
    value = JSON.parse(text) ?? {};
  } catch {
    return { damaged: 'it is not JSON' };
  }
  // Its seal says that it is what was written; its format, that it is known here.
  if (!value.report || reportText(value.report, sha256) !== text) return { damaged: 'its own hash does not match' };
  return value.report.format === 1 ? value.report : { damaged: `its format is ${value.report.format}` };
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
