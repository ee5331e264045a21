import { closeSync, lstatSync, mkdirSync, openSync, readdirSync, unlinkSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { messageOf } from './errors.ts';
import type { Secrets } from './secret.ts';

/** What is written down of a run, a JSON line each, as it happens. */
export type Event =
  | { event: 'start'; script: string; lab: string; args: string[]; mode: string }
  | { event: 'plan'; steps: { id: string; why: string; host?: string }[] }
  | { event: 'step-start'; id: string; host?: string; title: string }
  | {
      event: 'step-end';
      id: string;
      host?: string;
      seconds: number;
      changed: boolean;
      outcome: 'done' | 'failed' | 'skipped';
      error?: string;
    }
  | { event: 'proof'; claim: string; ok: boolean; skipped?: boolean; detail: string; host?: string }
  | { event: 'end'; exit: number; seconds: number; error?: string };

export interface Journal {
  write(event: Event): void;
  /** The file, or undefined for a journal that keeps nothing. */
  readonly file?: string;
  close(): void;
}

export const noJournal: Journal = { write() {}, close() {} };

/** Journals are kept for so many days, and so many of them however old they are. */
const KEEP_DAYS = 90;
const KEEP_LAST = 50;

/**
 * A journal of one run: .state/<lab>/runs/<UTC>-<script>-<pid>.jsonl, mode 0600, every line redacted.
 * Lines are written synchronously: what was done before a SIGKILL is on disk. Old journals go when one is opened.
 */
export function openJournal(
  stateFolder: string,
  script: string,
  secrets: Secrets,
  now = new Date(),
  warn: (text: string) => void = () => {},
): Journal {
  const folder = join(stateFolder, 'runs');
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, `${now.toISOString().replaceAll(/[:.]/g, '-')}-${script}-${process.pid}.jsonl`);
  const fd = openSync(file, 'a', 0o600);
  pruneJournals(folder, now, warn);
  // Half-way through a change a full disk must not stop what a journal only tells.
  let broken = false;
  return {
    file,
    write: (event) => {
      try {
        writeSync(fd, `${secrets.redact(JSON.stringify({ t: new Date().toISOString(), ...event }))}\n`);
      } catch (error) {
        if (!broken) warn(`warning: the journal cannot be written, and ends here: ${messageOf(error)}`);
        broken = true;
      }
    },
    close: () => closeSync(fd),
  };
}

const NAME = /^(\d{4}-\d\d-\d\dT\d\d)-(\d\d)-(\d\d)-(\d{3}Z)-[a-z0-9-]+-\d+\.jsonl$/;

/** Removes journals that are old by their names and were not written to since. Nothing else in the folder is touched. */
function pruneJournals(folder: string, now: Date, warn: (text: string) => void): void {
  const since = now.getTime() - KEEP_DAYS * 86_400_000;
  const newestFirst = readdirSync(folder)
    .filter((name) => NAME.test(name))
    .sort()
    .reverse();
  const old = newestFirst.slice(KEEP_LAST).filter((name) => Date.parse(name.replace(NAME, '$1:$2:$3.$4')) < since);
  try {
    for (const name of old) removeUnwritten(join(folder, name), since);
  } catch (error) {
    warn(`warning: journals older than ${KEEP_DAYS} days stay: ${messageOf(error)}`);
  }
}

function removeUnwritten(file: string, since: number): void {
  try {
    const seen = lstatSync(file);
    if (seen.isFile() && seen.mtimeMs < since) unlinkSync(file);
  } catch (error) {
    // Another run that begins now does the same.
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}
