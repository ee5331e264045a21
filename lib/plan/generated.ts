import { createHash } from 'node:crypto';
import type { Lab } from '../lab-context.ts';
import type { Note, Step } from '../step.ts';
import { shownPath } from './shown-path.ts';

/**
 * Files below .state/<lab>/ that are generated for other programs, and how an edit of one is told from our own work:
 * generated.json remembers the SHA-256 of what was written. What is neither that nor what would be written now was
 * changed by a person, and is kept beside the file before that is written anew.
 */
export type GeneratedSeen = {
  /** SHA-256 of what was written, by path below .state/<lab>/; two when a run may have ended before it wrote. */
  written: Readonly<Record<string, readonly string[]>>;
  /** SHA-256 of the versions of a person that were kept, by path. */
  kept: Readonly<Record<string, string>>;
};

/** A generated file: what it is to be, and what it is. */
export type Generated = Pick<Step, 'id' | 'after' | 'host'> & {
  path: string;
  content: string;
  now: string | undefined;
  /** The program itself adds to it: never an edit. */
  grows?: boolean;
};

/** Where it is remembered what was written. */
export function recordPath({ paths }: Pick<Lab, 'paths'>): string {
  return `${paths.state}/generated.json`;
}

/** Whether something else than this toolkit changed the file, and not to what it would be anyway. */
export function isEdited(lab: Pick<Lab, 'paths'>, { written }: GeneratedSeen, file: Generated): boolean {
  const { path, content, now, grows } = file;
  return now !== undefined && now !== content && !grows && !written[nameIn(lab, path)]?.includes(sha256(now));
}

/** Whether a file is, to the byte, one that this toolkit wrote. */
export function isWritten(
  lab: Pick<Lab, 'paths'>,
  { written }: GeneratedSeen,
  file: { path: string; sha256: string },
): boolean {
  return written[nameIn(lab, file.path)]?.includes(file.sha256) ?? false;
}

/**
 * The steps that write what differs, all of one host or of none. What a person made of a file is copied first, and
 * every write is remembered before it.
 */
export function writeSteps(lab: Lab, seen: GeneratedSeen, files: readonly Generated[]): Step[] {
  const differing = files.filter(({ now, content }) => now !== content);
  if (differing.length === 0) return [];
  const keeps = differing.filter((file) => isEdited(lab, seen, file)).flatMap((file) => keepStep(lab, seen, file));
  const written = { ...seen.written };
  for (const file of differing) {
    const known = file.now !== undefined && !isEdited(lab, seen, file) ? [sha256(file.now)] : [];
    written[nameIn(lab, file.path)] = [sha256(file.content), ...known];
  }
  const record: Step = {
    id: 'generated',
    title: `remember in ${shownPath(lab, recordPath(lab))} what is written`,
    why: 'an edit by hand is known by it',
    ...hostOf(differing[0]),
    after: keeps.map(({ id }) => id),
    action: { kind: 'write', path: recordPath(lab), content: `${JSON.stringify(written, null, 2)}\n`, mode: 0o600 },
  };
  const writes = differing.map(
    ({ id, path, content, now, after = [], host }): Step => ({
      id,
      title: `write ${shownPath(lab, path)}`,
      why: now === undefined ? 'absent' : 'differs',
      ...hostOf({ host }),
      after: [...after, record.id],
      action: { kind: 'write', path, content, mode: 0o600 },
    }),
  );
  return [...keeps, record, ...writes];
}

/** What is said of files that a person edited. @param when what happens to them: "it is written anew" */
export function editedNotes(lab: Lab, seen: GeneratedSeen, files: readonly Generated[], when: string): Note[] {
  return files
    .filter((file) => isEdited(lab, seen, file))
    .map((file) => ({
      level: 'warning',
      text: `${shownPath(lab, file.path)} was changed since it was generated; ${when}`,
      fix: `your version is kept as ${shownPath(lab, keptAs(seen, file))}; what you want belongs into homelab.yaml`,
    }));
}

/** A copy, and not a move: whoever reads the file meanwhile finds it. Its text stays out of plan and journal. */
function keepStep(lab: Lab, seen: GeneratedSeen, file: Generated): Step[] {
  const to = keptAs(seen, file);
  if (seen.kept[to] !== undefined) return [];
  return [
    {
      id: `keep ${nameIn(lab, file.path)}`,
      title: `keep ${shownPath(lab, file.path)} as ${shownPath(lab, to)}`,
      why: 'it was changed since it was generated',
      ...hostOf(file),
      action: { kind: 'run', argv: ['cp', '-p', file.path, to], deadline: 30 },
    },
  ];
}

/** What --limit leaves out it leaves out whole: the record of a file goes with the file. */
function hostOf(file: Pick<Generated, 'host'> | undefined): Pick<Step, 'host'> {
  return file?.host === undefined ? {} : { host: file.host };
}

/** NAME.edited, NAME.edited.2, …: the first that is free, or that holds this very version already. */
function keptAs({ kept }: GeneratedSeen, { path, now = '' }: Generated): string {
  for (let n = 1; ; n++) {
    const name = n === 1 ? `${path}.edited` : `${path}.edited.${n}`;
    if (kept[name] === undefined || kept[name] === sha256(now)) return name;
  }
}

function nameIn({ paths }: Pick<Lab, 'paths'>, path: string): string {
  return path.startsWith(`${paths.state}/`) ? path.slice(paths.state.length + 1) : path;
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
