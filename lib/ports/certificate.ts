import { isIP } from 'node:net';
import { connect } from 'node:tls';
import { type Certificate, readCertificate } from '../certificate.ts';
import type { Endpoint } from './endpoints.ts';

/**
 * The certificate that a server shows. The handshake only: not a byte is sent behind it, so it may be looked at
 * before anybody trusts it.
 * @param seconds until it is given up
 * @param wanted the name that is asked for, where it is another than the host's: a server may have many
 * @throws Error when there is no TLS server
 */
export function shownCertificate(at: Endpoint, seconds: number, wanted?: string): Promise<Certificate> {
  return new Promise((resolve, reject) => {
    const servername = wanted ?? (isIP(at.host) ? undefined : at.host);
    const name = servername === undefined ? {} : { servername };
    const socket = connect({ ...at, ...name, rejectUnauthorized: false });
    const end = (error: Error): void => {
      socket.destroy();
      reject(error);
    };
    socket.setTimeout(seconds * 1000, () => end(new Error(`no certificate within ${seconds} s`)));
    socket.on('error', end);
    socket.on('secureConnect', () => {
      const { raw } = socket.getPeerCertificate();
      socket.destroy();
      if (raw) resolve(readCertificate(raw));
      else reject(new Error('it shows no certificate'));
    });
  });
}
