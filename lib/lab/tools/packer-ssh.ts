import { Client, type ConnectConfig } from 'ssh2';
import { sleep } from './api.ts';

/** Runs a command with that input, as Packer's provisioners do; tries again until SSH answers. Packer checks no host key. */
export async function runBySsh(
  target: ConnectConfig,
  command: string,
  input: string,
  say: (line: string) => void,
): Promise<void> {
  const end = Date.now() + 60_000;
  while (true) {
    try {
      return await once(target, command, input, say);
    } catch (error) {
      if (!(error instanceof NotConnected) || Date.now() > end) throw error;
      await sleep(300);
    }
  }
}

class NotConnected extends Error {}

function once(target: ConnectConfig, command: string, input: string, say: (line: string) => void): Promise<void> {
  const client = new Client();
  return new Promise<void>((resolve, reject) => {
    client.on('error', (error) => reject(new NotConnected(error.message)));
    client.on('ready', () => {
      client.exec(command, (error, channel) => {
        if (error) return reject(error);
        let last = '';
        let exit: number | null = null;
        channel.on('exit', (code: number | null) => {
          exit = code;
        });
        channel.on('close', () =>
          exit === 0 ? resolve() : reject(new Error(`Script exited with non-zero exit status: ${exit}: ${last}`)),
        );
        for (const stream of [channel, channel.stderr])
          stream.on('data', (chunk: Buffer) => {
            last = chunk.toString().trimEnd();
            for (const line of last.split('\n')) say(line);
          });
        channel.end(input);
      });
    });
    client.connect({ ...target, readyTimeout: 10_000 });
  }).finally(() => client.end());
}
