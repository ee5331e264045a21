import { readFileSync } from 'node:fs';
import type { Agent } from 'undici';
import type { ProxmoxNode } from '../config/schema.ts';
import { type Poll, until } from '../deadline.ts';
import { HomelabError, messageOf, UsageError } from '../errors.ts';
import { caFile } from '../lookup.ts';
import type { Endpoint } from './endpoints.ts';
import type { PortContext } from './index.ts';
import { connect, type PveAnswer, type PveRequest, type PveToken, send } from './pve-request.ts';
import type { Pve } from './types.ts';

/** Seconds for an answer to a GET, after which the next node is asked. */
const GET = 15;
/** Seconds for the answer to a change; what takes longer is a task. */
const CHANGE = 90;
/** Seconds for a task where the caller says nothing. */
const TASK = 600;
/** Lines of a failed task's log that an error shows. */
const LOG_LINES = 15;

/** The Proxmox API of the lab's cluster, by token, over TLS that is pinned by homelab.yaml. */
export function connectPve(context: PortContext): Pve {
  const { lab } = context;
  const { nodes, port, token_id } = lab.config.proxmox;
  const agents = new Map<string, Promise<Agent>>();

  const token = (): PveToken => {
    const secret = context.secrets.get('PROXMOX_TOKEN_SECRET')?.reveal();
    if (secret === undefined)
      throw new UsageError('PROXMOX_TOKEN_SECRET is missing', {
        fix: `add the secret of ${token_id} to ${lab.paths.env}`,
      });
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(secret))
      throw new UsageError('PROXMOX_TOKEN_SECRET is not the secret of a Proxmox API token, a lower-case UUID', {
        fix: `copy it again into ${lab.paths.env}; a lost one is replaced: pveum user token remove and add`,
      });
    return { id: token_id, secret };
  };

  const agentOf = (node: ProxmoxNode, reuse: boolean): Promise<Agent> => {
    const key = `${node.name} ${reuse}`;
    const known = agents.get(key);
    if (known) return known;
    const file = caFile(lab);
    const ca = file === undefined ? undefined : readCa(file);
    const agent = connect(node.fingerprint === undefined ? { ca } : { fingerprint: node.fingerprint }, reuse);
    agents.set(key, agent);
    return agent;
  };

  const ask = async (node: ProxmoxNode, request: PveRequest): Promise<PveAnswer> => {
    let at: Endpoint;
    try {
      at = context.endpoints.dial(node.address, port);
    } catch (error) {
      return { ok: false, status: 0, message: messageOf(error), sent: 'no' };
    }
    const answer = await send(request, at, token(), await agentOf(node, request.method === 'GET'));
    return answer.ok || answer.status !== 0
      ? answer
      : { ...answer, message: `${node.name} (${node.address}:${port}): ${answer.message}` };
  };

  /** GETs go to the node that they are about, and to the others when it does not answer. */
  const get = async (path: string, params?: PveRequest['params'], deadline = GET): Promise<PveAnswer> => {
    const silent: string[] = [];
    for (const node of nodesFor(path, nodes)) {
      const answer = await ask(node, { method: 'GET', path, params, deadline });
      if (answer.ok || answer.status !== 0) return answer;
      silent.push(answer.message);
    }
    return { ok: false, status: 0, message: `no Proxmox node answers: ${silent.join('; ')}`, sent: 'no' };
  };

  return {
    get: async <T>(path: string, params?: Record<string, string | number>) => {
      const answer = await get(path, params);
      // The shape of an answer is the caller's knowledge of the API.
      if (answer.ok) return { ok: true, value: answer.data as T };
      return { ok: false, status: answer.status, reason: answer.message };
    },
    call: async (method, path, params, deadline = TASK) => {
      const [node] = nodesFor(path, nodes);
      if (!node) throw new Error('no Proxmox node');
      const answer = await ask(node, { method, path, params, deadline: Math.min(deadline, CHANGE) });
      if (!answer.ok) throw refusal(`${method} ${path}`, answer, token_id);
      if (typeof answer.data !== 'string' || !answer.data.startsWith('UPID:')) return answer.data;
      await taskEnds(answer.data, `${method} ${path}`, deadline, get);
      return answer.data;
    },
  };
}

type Get = (path: string, params?: PveRequest['params'], deadline?: number) => Promise<PveAnswer>;

/** Waits for a task on the node that its UPID names. */
async function taskEnds(upid: string, what: string, deadline: number, get: Get): Promise<void> {
  const [, node = '', , , , type = ''] = upid.split(':');
  const path = `/nodes/${node}/tasks/${upid}`;
  const look = async (): Promise<Poll<string>> => {
    const answer = await get(`${path}/status`);
    // Right after its start a task may not be known yet, and a node may be away for a moment: both are no verdict.
    if (!answer.ok) return { done: false, seen: answer.message };
    const { status, exitstatus = '' } = answer.data as { status: string; exitstatus?: string };
    return status === 'stopped' ? { done: true, value: exitstatus } : { done: false, seen: `task ${type} is running` };
  };
  const sleep = (seconds: number): Promise<void> => new Promise((done) => setTimeout(done, seconds * 1000));
  const exitstatus = await until(deadline, `${what}: task ${type} on ${node}`, look, { first: 0.05, most: 2, sleep });
  if (exitstatus === 'OK' || exitstatus.startsWith('WARNINGS')) return;
  const log = await get(`${path}/log`, { limit: 5000 });
  const lines = log.ok ? (log.data as { t: string }[]).slice(-LOG_LINES).map(({ t }) => t) : [];
  throw new HomelabError(`${what}: task ${type} on ${node} failed: ${exitstatus}`, {
    output: lines.join('\n') || undefined,
    fix: fixFor(exitstatus) ?? `the whole log: ${node} → Task History, ${upid}`,
  });
}

/** The node that a path names first: it need not pass the request on. */
function nodesFor(path: string, nodes: readonly ProxmoxNode[]): ProxmoxNode[] {
  const named = /^\/nodes\/([^/]+)/.exec(path)?.[1];
  return [...nodes].sort((a, b) => Number(b.name === named) - Number(a.name === named));
}

function refusal(what: string, answer: Exclude<PveAnswer, { ok: true }>, tokenId: string): HomelabError {
  if ('sent' in answer) {
    if (answer.sent === 'no')
      return new HomelabError(`${what}: ${answer.message}`, {
        cause: 'nothing was sent',
        fix: 'run it again when the node answers',
      });
    return new HomelabError(`${what}: ${answer.message}`, {
      cause: 'the connection ended before the answer: unknown whether it happened',
      fix: 'run the same command again: it looks first, and plans what is left',
    });
  }
  const { status, message } = answer;
  if (status === 401)
    return new HomelabError(
      `${what}: Proxmox does not accept the token ${tokenId} (401${message ? ` ${message}` : ''})`,
      {
        fix: 'compare proxmox.token_id and PROXMOX_TOKEN_SECRET with Datacenter → Permissions → API Tokens',
      },
    );
  return new HomelabError(`${what}: ${message}`, { fix: status === 403 ? grant(message, tokenId) : fixFor(message) });
}

/** How to give what a 403 names. */
function grant(message: string, tokenId: string): string | undefined {
  const [, path, privileges] = /Permission check failed \(([^,]+), ([^)]+)\)/.exec(message) ?? [];
  if (!path || !privileges) return undefined;
  return `the token ${tokenId} lacks ${privileges.replaceAll('|', ' or ')} on ${path}: give it a role with that privilege there, and its user too (a token never has more than its user): pveum acl modify ${path} --tokens '${tokenId}' --roles ROLE`;
}

function fixFor(message: string): string | undefined {
  if (/out of space|No space left/.test(message))
    return 'make room on that storage, or name another one in homelab.yaml';
  if (/VM is locked|got timeout/.test(message)) return 'something else works on that VM: wait for it, and run it again';
  if (/already exists/.test(message))
    return 'that VMID is taken: choose another in homelab.yaml, or remove what holds it';
  return undefined;
}

function readCa(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new UsageError(`proxmox.ca_file: ${messageOf(error)}`, {
      fix: `copy /etc/pve/pve-root-ca.pem of a Proxmox node to ${file}`,
    });
  }
}
