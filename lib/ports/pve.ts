import { readFileSync } from 'node:fs';
import type { Agent } from 'undici';
import type { ProxmoxNode } from '../config/schema.ts';
import { messageOf, UsageError } from '../errors.ts';
import { caFile } from '../lookup.ts';
import { shownCertificate } from './certificate.ts';
import type { Endpoint } from './endpoints.ts';
import type { PortContext } from './index.ts';
import { fixOf, isGateway, isLost, type PveFailure, refusal } from './pve-errors.ts';
import { connect, type PveAnswer, type PveRequest, type PveToken, send } from './pve-request.ts';
import { lostTask, taskEnds } from './pve-task.ts';
import type { Pve } from './types.ts';

/** Seconds that the port waits, at the most. */
const WAITS = {
  /** For an answer to a GET. Proxmox itself gives up on a node, or a storage, after 30. */
  get: 35,
  /** For the answer to a change; what takes longer is a task. */
  change: 90,
  /** For a task where the caller says nothing. */
  task: 600,
  /** For the task of a change whose answer was lost. */
  lost: 20,
  /** Until a task that Proxmox does not know counts as vanished. */
  vanished: 5,
};

/** The Proxmox API of the lab's cluster, by token, over TLS that is pinned by homelab.yaml. */
export function connectPve(context: PortContext): Pve {
  const { lab } = context;
  const { nodes, port, token_id } = lab.config.proxmox;
  const waits = shortened(WAITS, context.endpoints.longestWait);
  const agents = new Map<string, Promise<Agent>>();
  /** Nodes that did not answer when they were asked last: they are asked last. */
  const away = new Set<string>();
  /** Tasks whose UPIDs we were given. */
  const known = new Set<string>();
  /**
   * What ends all further requests of this run: a token that was refused (Proxmox holds each refusal back for three
   * seconds), or a node that is not who it was (whatever the others say, a person has to look first).
   */
  let over: PveFailure | undefined;

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
    const made = agents.get(key);
    if (made) return made;
    const file = caFile(lab);
    const ca = file === undefined ? undefined : readCa(file);
    const agent = connect(node.fingerprint === undefined ? { ca } : { fingerprint: node.fingerprint }, reuse);
    agents.set(key, agent);
    return agent;
  };

  const ask = async (node: ProxmoxNode, request: PveRequest): Promise<PveAnswer> => {
    if (over) return over;
    let at: Endpoint;
    try {
      at = context.endpoints.dial(node.address, port);
    } catch (error) {
      return { ok: false, status: 0, message: messageOf(error), sent: 'no' };
    }
    const answer = await send(request, at, token(), await agentOf(node, request.method === 'GET'));
    if (answer.ok || answer.status !== 0) away.delete(node.name);
    else away.add(node.name);
    if (answer.ok) return answer;
    if (answer.status === 401) {
      const said = answer.message ? ` ${answer.message}` : '';
      over = { ...answer, message: `Proxmox does not accept the token ${token_id} (401${said})` };
      return over;
    }
    if (isGateway(answer)) return { ...answer, message: `${node.name} says: ${answer.message} (${answer.status})` };
    if (!('sent' in answer)) return answer;
    const where = `${node.name} (${node.address}:${port})`;
    if (answer.why !== 'certificate') return { ...answer, message: `${where}: ${answer.message}` };
    over = { ...answer, message: `${where}: ${await distrust(node, at, answer.message, caFile(lab))}` };
    return over;
  };

  /** GETs go to the node that they are about, and to the others when it does not answer. */
  const get = async (path: string, params?: PveRequest['params'], deadline = waits.get): Promise<PveAnswer> => {
    const named = nodeIn(path);
    const silent: string[] = [];
    let status = 0;
    const order = [...nodes].sort(
      (a, b) =>
        Number(away.has(a.name)) - Number(away.has(b.name)) || Number(b.name === named) - Number(a.name === named),
    );
    for (const node of order) {
      const request = { method: 'GET', path, params, deadline } as const;
      let answer = await ask(node, request);
      // A node may close an idle connection at the moment at which it is used again.
      if (!answer.ok && 'sent' in answer && answer.sent === 'unknown' && !answer.why) answer = await ask(node, request);
      if (answer.ok) return answer;
      // Somebody else with that address is said, and not passed by.
      if ('why' in answer && answer.why === 'certificate') return answer;
      if (answer.status !== 0 && !isGateway(answer)) return answer;
      silent.push(answer.message);
      if (isGateway(answer)) status = answer.status;
      // The others would ask the same node, and wait as long.
      if ('why' in answer && answer.why === 'late' && node.name === named) break;
    }
    const message = `${named ? `${named} does not answer` : 'no Proxmox node answers'}: ${silent.join('; ')}`;
    return status === 0 ? { ok: false, status, message, sent: 'no' } : { ok: false, status, message };
  };

  return {
    get: async <T>(path: string, params?: Record<string, string | number>) => {
      const answer = await get(path, params);
      // The shape of an answer is the caller's knowledge of the API.
      if (answer.ok) return { ok: true, value: answer.data as T };
      return { ok: false, status: answer.status, reason: answer.message, fix: fixOf(answer, token_id) };
    },
    call: async (method, path, params, deadline = waits.task) => {
      const node = nodes.find(({ name }) => name === nodeIn(path)) ?? nodes[0];
      if (!node) throw new Error('no Proxmox node');
      const began = performance.now();
      const agoMs = (): number => performance.now() - began;
      const what = `${method} ${path}`;
      const answer = await ask(node, { method, path, params, deadline: Math.min(deadline, waits.change) });
      let data = answer.ok ? answer.data : undefined;
      if (!answer.ok) {
        const lost = isLost(answer)
          ? await lostTask({ method, path, params, user: token_id, agoMs }, known, waits.lost, get)
          : {};
        if (!lost.upid) throw refusal(what, answer, token_id, lost.looked);
        data = lost.upid;
      }
      if (typeof data !== 'string' || !data.startsWith('UPID:')) return data;
      known.add(data);
      const left = Math.max(1, Math.min(deadline - agoMs() / 1000, context.endpoints.longestWait ?? deadline));
      await taskEnds(data, what, { deadline: left, patience: waits.vanished }, get);
      return data;
    },
  };
}

/** The node that a path names: it need not pass the request on. */
function nodeIn(path: string): string | undefined {
  return /^\/nodes\/([^/]+)/.exec(path)?.[1];
}

function shortened(waits: typeof WAITS, longest = Number.POSITIVE_INFINITY): typeof WAITS {
  const entries = Object.entries(waits).map(([name, seconds]) => [name, Math.min(seconds, longest)]);
  return { ...waits, ...Object.fromEntries(entries), vanished: Math.min(waits.vanished, longest / 2) };
}

/** What is wrong with a certificate, and how it is put right by whoever knows why it changed. */
async function distrust(node: ProxmoxNode, at: Endpoint, why: string, ca: string | undefined): Promise<string> {
  const shown = await shownCertificate(at, 5).catch(() => undefined);
  const found = shown && `${shown.fingerprint} (issued by "${shown.issuer}", for ${shown.names})`;
  if (node.fingerprint !== undefined)
    return `it shows another certificate: expected is ${node.fingerprint}, shown was ${found ?? `none (${why})`}; nothing was sent. If you renewed it, compare with ${node.name} → System → Certificates, and write the new fingerprint into homelab.yaml; if not, find out who answers there`;
  return `its certificate does not verify by proxmox.ca_file (${ca}): ${why}; shown was ${found ?? 'none'}; nothing was sent. If the CA or the certificate was renewed, copy /etc/pve/pve-root-ca.pem of a Proxmox node to ${ca} again (a custom certificate: give its fingerprint under the node in homelab.yaml); if not, find out who answers there`;
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
