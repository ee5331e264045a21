import type { Agent, buildConnector, Response } from 'undici';
import { messageOf } from '../errors.ts';
import { inUrl } from '../ledger/ip.ts';
import type { Endpoint } from './endpoints.ts';

/** How a node's certificate is recognised: by a CA, or by its SHA-256 fingerprint. Neither: by the public CAs. */
export type Pin = { ca?: string; fingerprint?: string };

export type PveToken = { id: string; secret: string };

export type PveRequest = {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE';
  /** Behind /api2/json. */
  path: string;
  params?: Record<string, string | number | boolean>;
  /** Seconds. */
  deadline: number;
};

/**
 * What came of one request. `sent: 'no'`: it cannot have had an effect. `why` is told where a caller acts on it:
 * the certificate is another one; no answer came in time.
 */
export type PveAnswer =
  | { ok: true; data: unknown; date?: Date }
  | { ok: false; status: number; message: string; errors?: Record<string, string> }
  | { ok: false; status: 0; message: string; sent: 'no' | 'unknown'; why?: 'certificate' | 'late' };

/** Seconds until a node that does not take the connection counts as down. */
const CONNECT = 5;
/** What Node says of a certificate that does not verify. */
const CERTIFICATE =
  /^(CERT_\w+|UNABLE_TO_(GET|VERIFY|DECODE|DECRYPT)_\w+|SELF_SIGNED_\w+|DEPTH_ZERO_\w+|ERR_TLS_CERT\w+|HOMELAB_FINGERPRINT)$/;

/** There is no connection, or no trust in it: not a byte of a request was sent. */
class NotConnected extends Error {
  readonly certificate: boolean;

  constructor(cause: Error) {
    super(cause.message, { cause });
    this.certificate = CERTIFICATE.test(String((cause as NodeJS.ErrnoException).code));
  }
}

/**
 * Connections to one node, which are trusted by its pin only.
 * @param reuse whether a connection may serve several requests. Not for changes: the server may close an idle
 *   one at the moment of sending, and then nobody knows whether the request arrived.
 */
export async function connect(pin: Pin, reuse: boolean): Promise<Agent> {
  const { Agent, buildConnector } = await import('undici');
  const open =
    pin.fingerprint === undefined
      ? buildConnector({ ca: pin.ca, timeout: CONNECT * 1000 })
      : byFingerprint(buildConnector, pin.fingerprint);
  return new Agent({
    pipelining: reuse ? 1 : 0,
    connect: (options, callback) =>
      open(options, (error, socket) => (error ? callback(new NotConnected(error), null) : callback(null, socket))),
  });
}

/**
 * One request through proxmox-api, sent at most once. The library repeats what fails and leaves its timer
 * running when a fetch throws; ours never throws, so it does neither.
 */
export async function send(request: PveRequest, at: Endpoint, token: PveToken, dispatcher: Agent): Promise<PveAnswer> {
  const [{ ProxmoxEngine }, undici] = await Promise.all([import('proxmox-api'), import('undici')]);
  let failure: PveAnswer | undefined;
  let answer: { status: number; reason: string; text: string; type: string | null; date: string | null } | undefined;
  const engine = new ProxmoxEngine({
    host: inUrl(at.host),
    port: at.port,
    tokenID: token.id,
    tokenSecret: token.secret,
    queryTimeout: request.deadline * 1000,
    fetch: async (url, options): Promise<Response> => {
      try {
        const response = await undici.fetch(url, { ...options, dispatcher, redirect: 'error' });
        const { status, statusText: reason, headers } = response;
        const type = headers.get('content-type');
        answer = { status, reason, text: await response.text(), type, date: headers.get('date') };
        return new undici.Response(answer.text, { status, ...(type && { headers: { 'content-type': type } }) });
      } catch (error) {
        failure = failureOf(error, request.deadline);
        return new undici.Response(null, { status: 599 });
      }
    },
  });
  const strange = (what: string): PveAnswer => {
    const message = `does not answer as Proxmox VE does: ${what}`;
    return { ok: false, status: 0, message, sent: 'unknown' };
  };
  try {
    const path = `/api2/json${escapePath(request.path)}`;
    const data: unknown = await engine.doRequest(request.method, path, path, { ...request.params });
    // The library takes what is empty, or no JSON, for "done, and nothing to say".
    if (!answer || !isWhole(answer)) return strange('an empty answer, or half of one');
    return { ok: true, data, ...(answer.date && { date: new Date(answer.date) }) };
  } catch (error) {
    if (failure) return failure;
    if (answer && answer.status !== 200) return { ok: false, status: answer.status, ...wordsOf(answer) };
    return strange(messageOf(error));
  }
}

function isWhole({ type, text }: { type: string | null; text: string }): boolean {
  try {
    return type !== null && 'data' in (JSON.parse(text) as object);
  } catch {
    return false;
  }
}

/** Proxmox's words: the message, and what it says of single parameters. */
function wordsOf({ status, reason, text }: { status: number; reason: string; text: string }) {
  try {
    const { message, errors } = JSON.parse(text) as { message?: string; errors?: Record<string, string> };
    const details = Object.entries(errors ?? {}).map(([name, why]) => `${name}: ${why.trim()}`);
    return { message: [message?.trim() || reason, ...details].join('; '), ...(errors && { errors }) };
  } catch {
    return { message: reason || `status ${status}` };
  }
}

/** "#" would cut the URL, a space or "?" change it; what is escaped already stays. */
function escapePath(path: string): string {
  return path.replace(/[^A-Za-z0-9\-._~!$&'()*+,;=:@/%]/gu, encodeURIComponent);
}

/** The chain of a self-signed certificate proves nothing; its fingerprint does, and is compared before a byte is sent. */
function byFingerprint(build: typeof buildConnector, expected: string): buildConnector.connector {
  // A resumed session would show no certificate: none is kept.
  const open = build({ rejectUnauthorized: false, maxCachedSessions: 0, timeout: CONNECT * 1000 });
  return (options, callback) =>
    open(options, (error, socket) => {
      if (error) return callback(error, null);
      const found = 'getPeerCertificate' in socket ? socket.getPeerCertificate().fingerprint256 : undefined;
      if (found?.toUpperCase() === expected.toUpperCase()) return callback(null, socket);
      socket.destroy();
      const text = `its certificate has the fingerprint ${found ?? '(none)'}, and homelab.yaml expects ${expected}`;
      callback(Object.assign(new Error(text), { code: 'HOMELAB_FINGERPRINT' }), null);
    });
}

function failureOf(error: unknown, deadline: number): PveAnswer {
  const { cause, name } = error as { cause?: unknown; name?: string };
  const failed = { ok: false, status: 0 } as const;
  if (name === 'AbortError')
    return { ...failed, message: `no answer within ${deadline} s`, sent: 'unknown', why: 'late' };
  if (cause instanceof NotConnected)
    return { ...failed, message: cause.message, sent: 'no', ...(cause.certificate && { why: 'certificate' }) };
  return { ...failed, message: messageOf(cause ?? error), sent: 'unknown' };
}
