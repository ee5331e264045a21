import { connect, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Endpoint } from './endpoints.ts';

/** What carries an SSH connection: TCP, or a channel of the jump host before it. */
export type Transport = {
  stream: Duplex;
  /** The process stays alive for it. */
  hold(): void;
  /** It does not. */
  release(): void;
  /** Bytes may still be sent. */
  isOpen(): boolean;
};

/** Milliseconds after which TCP asks an idle peer whether it is there; later than SSH asks while a command runs. */
const KEEP_ALIVE = 20_000;

/** A TCP connection. @param late gives it up */
export function overTcp(target: Endpoint, late: AbortSignal): Promise<Transport> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect({ ...target, noDelay: true });
    late.addEventListener('abort', () => socket.destroy());
    socket.setKeepAlive(true, KEEP_ALIVE);
    socket.once('error', reject);
    socket.once('connect', () => {
      socket.off('error', reject);
      resolve({
        stream: socket,
        hold: () => socket.ref(),
        release: () => socket.unref(),
        isOpen: () => socket.writable,
      });
    });
  });
}
