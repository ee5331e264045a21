import type { Notify } from '../config/schema.ts';
import { messageOf } from '../errors.ts';
import { lastLines } from '../ports/exec.ts';
import type { Ports } from '../ports/types.ts';
import { type Notice, noticeText } from '../render/backup-notice.ts';
import type { Secret } from '../secret.ts';
import { pingOf } from './ping.ts';

/** What it takes to tell somebody something. */
export type Messenger = {
  ports: Pick<Ports, 'exec' | 'net' | 'clock'>;
  notify: Notify;
  /** What is pinged; whoever has it can say that all is well. */
  url?: Secret;
  /** Where programs of a relative path are: the folder of homelab.yaml. */
  root: string;
  redact: (text: string) => string;
  warn: (text: string) => void;
};

/** Seconds for one ping, and before it is tried again. */
const PING_SECONDS = 5;
const PAUSES = [1, 3];

/** Tells everybody who is to hear of it, side by side. What goes wrong there is a warning, and nothing else. */
export async function send(messenger: Messenger, notice: Notice): Promise<void> {
  await Promise.all([runProgram(messenger, notice), ping(messenger, notice)]);
}

async function runProgram(messenger: Messenger, notice: Notice): Promise<void> {
  const { ports, notify, root, redact, warn } = messenger;
  const argv = notify[notice.event];
  if (!argv) return;
  const what = `backup.notify.${notice.event}: ${argv[0]}`;
  try {
    const stdin = redact(`${JSON.stringify({ ...notice, text: noticeText(notice) })}\n`);
    const { code, stdout, stderr } = await ports.exec.run(argv, { cwd: root, stdin, deadline: notify.timeout_seconds });
    if (code === 0) return;
    const said = lastLines(stderr || stdout, 5);
    warn(`${what} ended with exit code ${code}${said ? `: ${said}` : ''}`);
  } catch (error) {
    warn(`${what}: ${messageOf(error)}`);
  }
}

async function ping({ ports, notify, url, redact, warn }: Messenger, notice: Notice): Promise<void> {
  if (!notify.healthcheck) return;
  const told = url && pingOf(url.reveal(), notice, redact);
  if (told === 'untold') return;
  // Of the start nobody needs to hear that nobody was told: the end says so too.
  if (!told && notice.event === 'start') return;
  if (!told)
    return warn(
      url
        ? `the healthcheck was not told: ${url.name} in .env is no http(s):// URL`
        : 'the healthcheck was not told: BACKUP_HEALTHCHECK_URL is not in .env',
    );
  let reason = '';
  for (let attempt = 0; attempt <= PAUSES.length; attempt++) {
    const answer = await ports.net.send(told.url, { body: told.body, deadline: PING_SECONDS });
    if (answer.ok && answer.value.status < 300) return;
    reason = answer.ok ? `it answered ${answer.value.status}` : answer.reason;
    // Anything else would be answered in the same way again.
    if (answer.ok && answer.value.status < 500 && answer.value.status !== 429) break;
    const pause = PAUSES[attempt];
    if (pause !== undefined) await ports.clock.sleep(pause);
  }
  warn(`the healthcheck was not told (${notice.event}): ${reason}; is BACKUP_HEALTHCHECK_URL right?`);
}
