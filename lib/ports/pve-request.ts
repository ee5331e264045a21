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

/** What came of one request. `sent: 'no'`: it cannot have had an effect. */
export type PveAnswer =
  | { ok: true; data: unknown }
  | { ok: false; status: number; message: string; errors?: Record<string, string> }
  | { ok: false; status: 0; message: string; sent: 'no' | 'unknown' };

/** Seconds until a node that does not take the connection counts as down. */
const CONNECT = 5;
/** Errors from before the first byte of the request. */
const NOT_SENT =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT|ERR_TLS_\w+|ERR_SSL_\w+|SELF_SIGNED_CERT_IN_CHAIN|DEPTH_ZERO_SELF_SIGNED_CERT|UNABLE_TO_\w+|CERT_\w+|HOMELAB_FINGERPRINT)$/;

/**
 * Connections to one node, which are trusted by its pin only.
 * @param reuse whether a connection may serve several requests. Not for changes: the server may close an idle
 *   one at the moment of sending, and then nobody knows whether the request arrived.
 */
export async function connect(pin: Pin, reuse: boolean): Promise<Agent> {
  const undici = await import('undici');
  const options = { pipelining: reuse ? 1 : 0 };
  if (pin.fingerprint === undefined)
    return new undici.Agent({ ...options, connect: { ca: pin.ca, timeout: CONNECT * 1000 } });
  return new undici.Agent({ ...options, connect: byFingerprint(undici.buildConnector, pin.fingerprint) });
}

/**
 * One request through proxmox-api, sent at most once. The library repeats what fails and leaves its timer
 * running when a fetch throws; ours never throws, so it does neither.
 */
export async function send(request: PveRequest, at: Endpoint, token: PveToken, dispatcher: Agent): Promise<PveAnswer> {
  const [{ ProxmoxEngine }, undici] = await Promise.all([import('proxmox-api'), import('undici')]);
  let failure: { message: string; sent: 'no' | 'unknown' } | undefined;
  let answer: { status: number; reason: string; text: string } | undefined;
  const engine = new ProxmoxEngine({
    host: inUrl(at.host),
    port: at.port,
    tokenID: token.id,
    tokenSecret: token.secret,
    queryTimeout: request.deadline * 1000,
    fetch: async (url, options): Promise<Response> => {
      try {
        const response = await undici.fetch(url, { ...options, dispatcher, redirect: 'error' });
        answer = { status: response.status, reason: response.statusText, text: await response.text() };
        const type = response.headers.get('content-type');
        return new undici.Response(answer.text, {
          status: answer.status,
          ...(type && { headers: { 'content-type': type } }),
        });
      } catch (error) {
        failure = { message: causeOf(error, request.deadline), sent: NOT_SENT.test(codeOf(error)) ? 'no' : 'unknown' };
        return new undici.Response(null, { status: 599 });
      }
    },
  });
  try {
    const path = `/api2/json${escapePath(request.path)}`;
    const data: unknown = await engine.doRequest(request.method, path, path, { ...request.params });
    return { ok: true, data };
  } catch (error) {
    if (failure) return { ok: false, status: 0, ...failure };
    if (answer && answer.status !== 200) return { ok: false, status: answer.status, ...wordsOf(answer) };
    return {
      ok: false,
      status: 0,
      message: `does not answer as Proxmox VE does: ${messageOf(error)}`,
      sent: 'unknown',
    };
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
      const text = `its certificate has the fingerprint ${found ?? '(none)'}, and not ${expected}`;
      callback(Object.assign(new Error(text), { code: 'HOMELAB_FINGERPRINT' }), null);
    });
}

function codeOf(error: unknown): string {
  const { cause, code } = error as { cause?: { code?: unknown }; code?: unknown };
  return String(cause?.code ?? code ?? '');
}

function causeOf(error: unknown, deadline: number): string {
  const { cause, name } = error as { cause?: unknown; name?: string };
  if (name === 'AbortError') return `no answer within ${deadline} s`;
  return messageOf(cause ?? error);
}
