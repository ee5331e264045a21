import { createHash } from 'node:crypto';
import type { Config } from '../config/schema.ts';

/** What goes into a template: each part as text, by name. */
export type TemplateInputs = {
  iso: string;
  'user-data': string;
  'grow-root': string;
  hcl: string;
  settings: string;
};

/**
 * A hash over everything that goes in, and a short one a part, so that "stale" can say what differs.
 */
export type TemplateStamp = {
  hash: string;
  parts: Record<string, string>;
  /** The lab that made it. */
  lab?: string;
  /** The node for which a copy was made. */
  for?: string;
};

/**
 * @param userData rendered
 * @param growRoot templates/grow-root.sh
 * @param hcl the files of Packer's folder, by name
 */
export function templateInputs(
  { template }: Config,
  userData: string,
  growRoot: string,
  hcl: Readonly<Record<string, string>>,
): TemplateInputs {
  const { name, disk_gib, storage, user } = template;
  return {
    iso: template.iso.sha256,
    'user-data': userData,
    'grow-root': growRoot,
    hcl: JSON.stringify(Object.entries(hcl).sort(([a], [b]) => (a < b ? -1 : 1))),
    settings: JSON.stringify({ name, disk_gib, storage, user }),
  };
}

/** The stamp that a template made of these inputs gets. The lab's name is none of them: labs may share a template. */
export function stampOf(inputs: TemplateInputs, lab: string): TemplateStamp {
  const parts = Object.fromEntries(Object.entries(inputs).map(([name, text]) => [name, sha256(text).slice(0, 8)]));
  return { hash: sha256(JSON.stringify(Object.entries(inputs))), parts, lab };
}

/** The template's notes in Proxmox. */
export function renderNotes({ hash, parts, lab, for: node }: TemplateStamp): string {
  const short = Object.entries(parts).map(([name, part]) => `${name}=${part}`);
  const lines = [`homelab-template: sha256:${hash}`, `homelab-inputs: ${short.join(' ')}`];
  if (lab) lines.push(`homelab-lab: ${lab}`);
  if (node) lines.push(`homelab-copy-for: ${node}`);
  return lines.join('\n');
}

/** The stamp in a template's notes, or undefined when they are not ours. */
export function parseNotes(notes: string): TemplateStamp | undefined {
  const hash = /^homelab-template: sha256:([0-9a-f]{64})\s*$/m.exec(notes)?.[1];
  if (!hash) return undefined;
  const inputs = /^homelab-inputs: (.*)$/m.exec(notes)?.[1] ?? '';
  const parts = Object.fromEntries(
    inputs
      .split(' ')
      .map((pair) => pair.split('='))
      .filter(([name, part]) => name && part),
  ) as Record<string, string>;
  const lab = /^homelab-lab: (\S+)\s*$/m.exec(notes)?.[1];
  const node = /^homelab-copy-for: (\S+)\s*$/m.exec(notes)?.[1];
  return { hash, parts, ...(lab && { lab }), ...(node && { for: node }) };
}

/** Why a template of ours is not current: "stale: iso changed". */
export function staleness(old: TemplateStamp, wanted: TemplateStamp): string {
  return `stale: ${changedParts(old, wanted).join(', ') || 'its inputs'} changed`;
}

/** Names of the parts that differ; all of them when the old notes do not say. */
function changedParts(old: TemplateStamp, wanted: TemplateStamp): string[] {
  return Object.keys(wanted.parts).filter((name) => old.parts[name] !== wanted.parts[name]);
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
