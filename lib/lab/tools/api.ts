import { readFileSync } from 'node:fs';
import { Agent, request } from 'node:https';

/** An error that the API answered. */
class ApiError extends Error {
  readonly status: number;
  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export type Params = Record<string, string | number | undefined>;

/** Just enough of a Proxmox client for the stand-ins: form bodies, tasks, TLS by SSL_CERT_FILE. Never retries. */
export class Api {
  readonly #base: string;
  readonly #headers: Record<string, string>;
  readonly #agent: Agent;

  /** @param base https://HOST:PORT/api2/json */
  constructor(base: string, headers: Record<string, string>) {
    this.#base = base;
    this.#headers = headers;
    const { SSL_CERT_FILE } = process.env;
    const ca = SSL_CERT_FILE ? readFileSync(SSL_CERT_FILE) : undefined;
    // As Go does it: a certificate that is itself in the file is trusted, and not only those that it has signed.
    this.#agent = new Agent({ keepAlive: true, ca, allowPartialTrustChain: true });
  }

  get<T>(path: string): Promise<T> {
    return this.#send('GET', path) as Promise<T>;
  }

  /** What a GET answers, or undefined for an error that the API answered. */
  async find<T>(path: string): Promise<T | undefined> {
    try {
      return await this.get<T>(path);
    } catch (error) {
      if (error instanceof ApiError && error.status >= 500) return undefined;
      throw error;
    }
  }

  /** A change; a task is waited for. @returns what it answered */
  async change(method: 'POST' | 'PUT' | 'DELETE', path: string, params: Params = {}): Promise<unknown> {
    const answer = await this.#send(method, path, params);
    if (typeof answer === 'string' && answer.startsWith('UPID:')) await this.#ends(answer);
    return answer;
  }

  close(): void {
    this.#agent.destroy();
  }

  async #ends(upid: string): Promise<void> {
    const path = `/nodes/${upid.split(':')[1]}/tasks/${encodeURIComponent(upid)}`;
    while (true) {
      const { status, exitstatus = '' } = await this.get<{ status: string; exitstatus?: string }>(`${path}/status`);
      if (status === 'stopped') {
        if (exitstatus === 'OK' || exitstatus.startsWith('WARNINGS')) return;
        throw new ApiError(500, exitstatus);
      }
      await sleep(100);
    }
  }

  #send(method: string, path: string, params: Params = {}): Promise<unknown> {
    const given = Object.entries(params).filter((entry): entry is [string, string | number] => entry[1] !== undefined);
    const form = new URLSearchParams(given.map(([key, value]): [string, string] => [key, String(value)])).toString();
    const inBody = method === 'POST' || method === 'PUT';
    const url = `${this.#base}${path}${!inBody && form ? `?${form}` : ''}`;
    const headers = {
      ...this.#headers,
      ...(inBody && {
        'content-type': 'application/x-www-form-urlencoded',
        'content-length': String(Buffer.byteLength(form)),
      }),
    };
    return new Promise((resolve, reject) => {
      const call = request(url, { method, headers, agent: this.#agent }, (response) => {
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString();
          const { statusCode = 0, statusMessage = '' } = response;
          if (statusCode < 300) return resolve((JSON.parse(text || '{}') as { data?: unknown }).data);
          reject(new ApiError(statusCode, `${method} ${path}: ${statusCode} ${statusMessage} ${text}`.trim()));
        });
      });
      call.on('error', reject);
      call.end(inBody ? form : undefined);
    });
  }
}

export function sleep(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
