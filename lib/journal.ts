import { closeSync, mkdirSync, openSync, writeSync } from 'node:fs';
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

/**
 * A journal of one run: .state/<lab>/runs/<UTC>-<script>-<pid>.jsonl, mode 0600, every line redacted.
 * Lines are written synchronously: what was done before a SIGKILL is on disk.
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
