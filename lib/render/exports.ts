import type { NasExport } from '../config/schema.ts';

/** Where a Linux NAS keeps the exports of this lab. */
export const EXPORTS_FILE = '/etc/exports.d/homelab.exports';

/** An export and the addresses of those who may mount it. */
export type Allowed = { export: NasExport; addresses: readonly string[] };

/**
 * Root stays root: Proxmox and the CSI driver write as root, and make folders for others. What protects an
 * export is who may mount it.
 */
const OPTIONS = 'rw,sync,no_subtree_check,no_root_squash';

/** The text of EXPORTS_FILE: a line an export, each client by its address. */
export function exportsFile(allowed: readonly Allowed[]): string {
  const lines = allowed.map(
    ({ export: { path }, addresses }) => `${escaped(path)} ${addresses.map((a) => `${a}(${OPTIONS})`).join(' ')}`,
  );
  return `${['# From homelab.yaml, by setup-nfs: changes here are overwritten.', ...lines].join('\n')}\n`;
}

/** What ends a path in exports(5), as octal. */
function escaped(path: string): string {
  return path.replaceAll(/[\s"#\\]/g, (char) => `\\${char.charCodeAt(0).toString(8).padStart(3, '0')}`);
}

/** Who is served now, from `exportfs -s`: a line a client, "PATH  CLIENT(options)". */
export function activeExports(output: string): { path: string; client: string }[] {
  return [...output.matchAll(/^(\S+)\s+([^\s(]+)/gm)].map(([, path = '', client = '']) => ({
    path: path.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))),
    client,
  }));
}
