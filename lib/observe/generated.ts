import { join } from 'node:path';
import type { Lab } from '../lab-context.ts';
import { type GeneratedSeen, recordPath } from '../plan/generated.ts';
import type { FilesReader } from '../ports/types.ts';

/** What is remembered of generated files, and the edited ones that were kept in `folder`. */
export async function readGenerated(lab: Lab, files: FilesReader, folder: string): Promise<GeneratedSeen> {
  const [record, names] = await Promise.all([files.text(recordPath(lab)), files.list(folder)]);
  const paths = names.filter((name) => /\.edited(\.\d+)?$/.test(name)).map((name) => join(folder, name));
  const hashes = await Promise.all(paths.map((path) => files.sha256(path)));
  const kept = Object.fromEntries(paths.map((path, i) => [path, hashes[i] ?? '']));
  return { written: parseRecord(record), kept };
}

/** A record that cannot be read is none: then everything that differs counts as edited, and is kept. */
function parseRecord(text: string | undefined): GeneratedSeen['written'] {
  try {
    const parsed: unknown = JSON.parse(text ?? '{}');
    if (typeof parsed !== 'object' || parsed === null) return {};
    return Object.fromEntries(
      Object.entries(parsed).flatMap(([path, hashes]: [string, unknown]) =>
        Array.isArray(hashes) ? [[path, hashes.filter((hash) => typeof hash === 'string')]] : [],
      ),
    );
  } catch {
    return {};
  }
}
