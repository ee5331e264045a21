import type { Duplex } from 'node:stream';
import ssh2, { type Client } from 'ssh2';
import { messageOf } from '../errors.ts';
import type { Unreachable } from './ssh-errors.ts';
import type { Offers } from './ssh-identity.ts';
import type { Login } from './ssh-login.ts';
import { algorithmsFor, refusal, type Trust } from './ssh-trust.ts';

/**
 * Host key, then login, over a stream that leads to the host.
 * @throws Unreachable when the key is not the host's; what ssh2 says where the login fails
 */
export function shakeHands(stream: Duplex, login: Login, { methods }: Offers, trust: Trust): Promise<Client> {
  const client = new ssh2.Client();
  let refused: Unreachable | undefined;
  let agent = '';
  return new Promise<Client>((resolve, reject) => {
    client.on('error', (error: Error & { level?: string }) => {
      // The next key is tried; that an agent would not sign is told when none is left.
      if (error.level === 'agent') agent = `; the ssh-agent: ${messageOf(error)}`;
      else if (refused) reject(refused);
      else {
        if (error.level === 'client-authentication') error.message += agent;
        reject(error);
      }
    });
    client.once('close', () => reject(refused ?? new Error('the connection was closed before the login')));
    client.once('ready', () => resolve(client));
    client.connect({
      sock: stream,
      username: login.user,
      readyTimeout: 0,
      authHandler: methods,
      algorithms: { serverHostKey: algorithmsFor(trust) },
      hostVerifier: (blob: Buffer) => {
        const type = blob.subarray(4, 4 + blob.readUInt32BE(0)).toString('latin1');
        refused = refusal(login, { type, blob: blob.toString('base64') }, trust);
        return refused === undefined;
      },
    });
  });
}
