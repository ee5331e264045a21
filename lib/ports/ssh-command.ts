import { constants } from 'node:os';
import type { Readable } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { BoundedOutput } from './ssh-output.ts';
import type { Outcome } from './types.ts';

/** What a command reads: bytes, or a stream that is opened when the command runs. */
export type Input = string | Uint8Array | (() => Readable);

/**
 * Feeds a command that was just started, and collects what it says.
 * @param dropped what is thrown when the channel ends and the command's exit code has not come
 */
export function outcomeOf(channel: ClientChannel, stdin: Input, dropped: () => Error): Promise<Outcome> {
  const stdout = new BoundedOutput();
  const stderr = new BoundedOutput();
  return new Promise((resolve, reject) => {
    let code: number | undefined;
    channel.on('data', (chunk: Buffer) => stdout.push(chunk));
    channel.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    channel.on('exit', (exit: number | null, signal?: string) => {
      code = exit ?? 128 + (signalNumber(signal) ?? 0);
    });
    // A command that does not read its stdin is no failure.
    channel.on('error', () => {});
    const source = typeof stdin === 'function' ? stdin() : undefined;
    channel.on('close', () => {
      source?.destroy();
      if (code === undefined) return reject(dropped());
      const truncated = stdout.truncated || stderr.truncated;
      resolve({ code, stdout: stdout.text(), stderr: stderr.text(), ...(truncated ? { truncated } : {}) });
    });
    if (typeof stdin !== 'function') channel.end(stdin);
    source?.pipe(channel);
    // Without its end the command must not go on as if it had all.
    source?.on('error', (error) => {
      channel.signal('KILL');
      channel.close();
      reject(error);
    });
  });
}

function signalNumber(name: string | undefined): number | undefined {
  const numbers: Record<string, number> = constants.signals;
  return name === undefined ? undefined : numbers[name.startsWith('SIG') ? name : `SIG${name}`];
}
