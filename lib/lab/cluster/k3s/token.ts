import { createHash } from 'node:crypto';

/** The secure form of a server's token: it pins the cluster's CA. */
export function secureToken(caHash: string, secret: string): string {
  return `K10${caHash}::server:${secret}`;
}

export function hashOf(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}

/**
 * Whether a token lets a node join.
 * @returns undefined when it does, else K3s's words
 */
export function refusal(token: string, caHash: string, secrets: readonly string[], url: string): string | undefined {
  if (!token.startsWith('K10')) return secrets.includes(token) ? undefined : unauthorized(url);
  const [, hash = '', , secret = ''] = /^K10([0-9a-f]+)::([^:]+):(.+)$/.exec(token) ?? [];
  if (!hash) return 'failed to normalize token; must be in format K10<CA-HASH>::<USERNAME>:<PASSWORD> or <PASSWORD>';
  if (hash !== caHash)
    return `failed to validate token: token CA hash does not match the Cluster CA certificate hash: ${hash} != ${caHash}`;
  return secrets.includes(secret) ? undefined : unauthorized(url);
}

function unauthorized(url: string): string {
  return `failed to validate token: ${url}/v1-k3s/server-bootstrap: 401 Unauthorized`;
}
