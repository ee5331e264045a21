import { type ServerResponse, STATUS_CODES } from 'node:http';
import { PveError } from './errors.ts';
import type { GatewayStatus } from './faults.ts';

/** Exactly this: npm proxmox-api takes no other. */
const JSON_TYPE = 'application/json;charset=UTF-8';

/** Why a node could not be asked, in the words of the proxy: AnyEvent::HTTP's for 59x, a web server's for 502. */
const GATEWAY: Record<GatewayStatus, string> = {
  502: 'Bad Gateway',
  595: 'No route to host',
  596: 'Broken pipe',
  599: 'Too many redirections',
};

/** What a node says that could not pass a request on. */
export function gatewayError(status: GatewayStatus): PveError {
  return new PveError(status, GATEWAY[status], undefined, status === 502 ? 'html' : 'empty');
}

/** @param cut end the connection in the middle of the answer */
export function sendData(response: ServerResponse, data: unknown, cut: boolean): void {
  const body = Buffer.from(JSON.stringify({ data }));
  response.writeHead(200, { 'content-type': JSON_TYPE, 'cache-control': 'no-store', 'content-length': body.length });
  if (!cut) return void response.end(body);
  response.write(body.subarray(0, body.length / 2), () => response.socket?.destroy());
}

/** The reason phrase is the first line of the message; the connection is closed, its body may not have been read. */
export function sendError(response: ServerResponse, { status, message, errors, form }: PveError): void {
  const [firstLine = ''] = message.split('\n');
  const reason = firstLine.replace(/[^\x20-\x7e]/g, '?') || STATUS_CODES[status] || '';
  response.shouldKeepAlive = false;
  const type = { json: JSON_TYPE, text: undefined, empty: undefined, html: 'text/html' }[form];
  response.writeHead(status, reason, type ? { 'content-type': type } : {});
  response.end(
    {
      json: () => JSON.stringify({ data: null, message: `${message}\n`, ...(errors && { errors }) }),
      text: () => message,
      empty: () => '',
      html: () => `<html><head><title>${status} ${message}</title></head><body></body></html>\n`,
    }[form](),
  );
}
