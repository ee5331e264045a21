import { createHash } from 'node:crypto';
import { createWriteStream, mkdirSync, readFileSync } from 'node:fs';
import { rename, rm } from 'node:fs/promises';
import { request as plainRequest } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { connect, isIP } from 'node:net';
import { dirname } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { checkServerIdentity, rootCertificates, type TLSSocket } from 'node:tls';
import type { Certificate } from '../certificate.ts';
import { HomelabError, messageOf } from '../errors.ts';
import { shownCertificate } from './certificate.ts';
import type { Endpoints } from './endpoints.ts';
import type { Answer, HttpAnswer, Net } from './types.ts';

/** A body that a probe keeps; more is read and dropped. */
const BODY = 256 * 1024;

/** @param caFile a CA to trust beside the public ones (a rehearsal's) */
export function realNet(endpoints: Endpoints, caFile?: string): Net {
  const ca = caFile ? [...rootCertificates, readFileSync(caFile, 'utf8')] : undefined;
  return {
    http: (url, { address, deadline = 10, ca: given, client }) =>
      http(
        new URL(url),
        ...([address, deadline] as const),
        { ca: given ? [...rootCertificates, given] : ca, ...client },
        endpoints,
      ),
    send: (url, { body, deadline = 10 }) => send(new URL(url), body, deadline, ca, endpoints),
    tcp: (address, port, deadline = 5) => tcp(address, port, deadline, endpoints),
    certificate: (address, port, deadline = 5, name) => certificate(address, port, deadline, name, endpoints),
    download: (url, to, options = {}) => download(new URL(url), to, options, ca, endpoints),
  };
}

/**
 * One request to `address` whatever DNS says, so that an ingress is proven before its name resolves.
 * The certificate is shown, also when it does not verify: whether it does is `authorized`.
 */
async function http(
  url: URL,
  address: string,
  deadline: number,
  tls: { ca?: string[]; cert?: string; key?: string },
  endpoints: Endpoints,
): Promise<Answer<HttpAnswer>> {
  const secure = url.protocol === 'https:';
  const name = url.hostname.replace(/^\[(.*)\]$/, '$1');
  try {
    const target = endpoints.dial(address, Number(url.port) || (secure ? 443 : 80));
    const value = await new Promise<HttpAnswer>((resolve, reject) => {
      const options = {
        host: target.host,
        port: target.port,
        path: url.pathname + url.search,
        headers: { host: url.host, connection: 'close' },
        signal: AbortSignal.timeout(deadline * 1000),
      };
      // Not trusting blindly: the certificate's state is part of the answer and the caller judges it.
      // An address is no server name, but the certificate must be for it all the same.
      const request = secure
        ? tlsRequest({
            ...{ ...options, ...tls, servername: isIP(name) ? '' : name, rejectUnauthorized: false },
            checkServerIdentity: (_host, peer) => checkServerIdentity(name, peer),
          })
        : plainRequest(options);
      request.on('error', reject);
      request.on('response', (response) => {
        const certificate = secure ? certificateOf(response.socket as TLSSocket) : undefined;
        let body = '';
        response.on('data', (chunk: Buffer) => {
          if (body.length < BODY) body += chunk.toString();
        });
        response.on('error', reject);
        response.on('end', () => {
          const headers = Object.fromEntries(
            Object.entries(response.headers).map(([name, text]) => [name, String(text)]),
          );
          resolve({ status: response.statusCode ?? 0, headers, body, certificate });
        });
      });
      request.end();
    });
    return { ok: true, value };
  } catch (error) {
    return { ok: false, reason: `${url.href} at ${address}: ${messageOf(error)}` };
  }
}

/** What the answer says is not needed, and not read. */
async function send(
  url: URL,
  body: string | undefined,
  deadline: number,
  ca: string[] | undefined,
  endpoints: Endpoints,
): Promise<Answer<{ status: number }>> {
  const secure = url.protocol === 'https:';
  const name = url.hostname.replace(/^\[(.*)\]$/, '$1');
  try {
    const target = endpoints.dial(name, Number(url.port) || (secure ? 443 : 80));
    const status = await new Promise<number>((resolve, reject) => {
      const options = {
        ...target,
        method: body === undefined ? 'GET' : 'POST',
        path: url.pathname + url.search,
        auth: url.username ? `${decodeURIComponent(url.username)}:${decodeURIComponent(url.password)}` : undefined,
        headers: {
          ...{ host: url.host, connection: 'close' },
          ...(body === undefined
            ? {}
            : { 'content-type': 'text/plain; charset=utf-8', 'content-length': Buffer.byteLength(body) }),
        },
        signal: AbortSignal.timeout(deadline * 1000),
      };
      const request = secure
        ? tlsRequest({ ...options, ca, servername: isIP(name) ? '' : name })
        : plainRequest(options);
      request.on('error', reject);
      request.on('response', (response) => {
        response.resume();
        resolve(response.statusCode ?? 0);
      });
      request.end(body);
    });
    return { ok: true, value: { status } };
  } catch (error) {
    const late = error instanceof Error && error.name === 'TimeoutError';
    return { ok: false, reason: late ? `no answer within ${deadline} s` : messageOf(error) };
  }
}

function certificateOf(socket: TLSSocket): HttpAnswer['certificate'] {
  const peer = socket.getPeerCertificate();
  const names = (peer.subjectaltname ?? '').split(', ').filter((name) => name.startsWith('DNS:'));
  return {
    names: names.map((name) => name.slice(4)),
    issuer: String(peer.issuer?.CN ?? ''),
    validTo: peer.valid_to,
    authorized: socket.authorized,
  };
}

async function tcp(address: string, port: number, deadline: number, endpoints: Endpoints): Promise<Answer<true>> {
  try {
    const target = endpoints.dial(address, port);
    await new Promise<void>((resolve, reject) => {
      const socket = connect(target);
      socket.setTimeout(deadline * 1000, () => socket.destroy(new Error(`no answer within ${deadline} s`)));
      socket.on('connect', () => {
        socket.destroy();
        resolve();
      });
      socket.on('error', reject);
    });
    return { ok: true, value: true };
  } catch (error) {
    return { ok: false, reason: `${address}:${port}: ${messageOf(error)}` };
  }
}

async function certificate(
  address: string,
  port: number,
  deadline: number,
  name: string | undefined,
  endpoints: Endpoints,
): Promise<Answer<Certificate>> {
  try {
    return { ok: true, value: await shownCertificate(endpoints.dial(address, port), deadline, name) };
  } catch (error) {
    return { ok: false, reason: `${address}:${port}: ${messageOf(error)}` };
  }
}

async function download(
  url: URL,
  to: string,
  { sha256, deadline = 300 }: { sha256?: string; deadline?: number },
  ca: string[] | undefined,
  endpoints: Endpoints,
): Promise<string> {
  const temporary = `${to}.part-${process.pid}`;
  mkdirSync(dirname(to), { recursive: true });
  const hash = createHash('sha256');
  const signal = AbortSignal.timeout(deadline * 1000);
  const fail = (why: string): HomelabError =>
    new HomelabError(`download of ${url.href} failed: ${why}`, {
      fix: 'run it again; if it persists, open the URL in a browser',
    });
  const get = (from: URL, redirects: number): Promise<void> =>
    new Promise((resolve, reject) => {
      if (from.protocol !== 'https:') return reject(fail(`redirected to ${from.href}, which is not https`));
      const target = endpoints.dial(from.hostname, Number(from.port) || 443);
      const request = tlsRequest(
        {
          host: target.host,
          port: target.port,
          servername: from.hostname,
          path: from.pathname + from.search,
          headers: { host: from.host },
          ca,
          signal,
        },
        (response) => {
          const { statusCode = 0, headers } = response;
          if (statusCode >= 300 && statusCode < 400 && headers.location) {
            response.resume();
            if (redirects === 0) return reject(fail('too many redirects'));
            return resolve(get(new URL(headers.location, from), redirects - 1));
          }
          if (statusCode !== 200) {
            response.resume();
            return reject(fail(`the server answered ${statusCode}`));
          }
          response.on('data', (chunk: Buffer) => hash.update(chunk));
          pipeline(response, createWriteStream(temporary)).then(resolve, (error: unknown) =>
            reject(fail(messageOf(error))),
          );
        },
      );
      request.on('error', (error) => reject(error instanceof HomelabError ? error : fail(error.message)));
      request.end();
    });
  try {
    await get(url, 5);
    const found = hash.digest('hex');
    if (sha256 && found !== sha256) {
      throw new HomelabError(`${url.href} is not what it was: its SHA-256 is ${found}, expected ${sha256}`, {
        fix: 'find out why before you trust it; if the change is wanted, delete its line from homelab.lock.yaml',
      });
    }
    await rename(temporary, to);
    return found;
  } finally {
    await rm(temporary, { force: true });
  }
}
