import { type Poll, until } from '../deadline.ts';
import { DeadlineError, HomelabError } from '../errors.ts';
import { fixFor, outcomeUnknown } from './pve-errors.ts';
import type { PveAnswer, PveRequest } from './pve-request.ts';

/** Lines of a task's log that an error shows. */
const LOG_LINES = 15;
/** Seconds for the log of a task that has failed already. */
const LOG = 10;

export type Get = (path: string, params?: PveRequest['params'], deadline?: number) => Promise<PveAnswer>;

/**
 * Waits for a task on the node that its UPID names. A node that is away for a moment (it reboots, its proxy
 * restarts) is no verdict: the task may go on, and is asked for until the deadline.
 * @param what the call that started it, for errors
 * @param patience seconds after which a task that Proxmox does not know counts as vanished
 * @throws HomelabError with the end of its log; that its outcome is unknown, when Proxmox does not tell it
 */
export async function taskEnds(
  upid: string,
  what: string,
  { deadline, patience }: { deadline: number; patience: number },
  get: Get,
): Promise<void> {
  const { node, type } = parseUpid(upid);
  const path = `/nodes/${node}/tasks/${upid}`;
  const named = `${what}: task ${type} on ${node}`;
  let unknownSince: number | undefined;
  const look = async (): Promise<Poll<string>> => {
    const answer = await get(`${path}/status`);
    if (answer.ok) {
      unknownSince = undefined;
      const { status, exitstatus = '' } = answer.data as { status: string; exitstatus?: string };
      return status === 'stopped'
        ? { done: true, value: exitstatus }
        : { done: false, seen: `task ${type} is running` };
    }
    const { status, message } = answer;
    if (status === 401 || status === 403)
      throw outcomeUnknown(named, 'Proxmox no longer lets it be seen', { cause: message, output: upid });
    if (/no such task/.test(message)) {
      unknownSince ??= performance.now();
      if (performance.now() - unknownSince > patience * 1000)
        throw outcomeUnknown(named, 'it has vanished, Proxmox does not know it any more', { output: upid });
    } else unknownSince = undefined;
    return { done: false, seen: message };
  };
  const exitstatus = await until(deadline, named, look, { first: 0.05, most: 2, sleep }).catch(async (error) => {
    if (!(error instanceof DeadlineError)) throw error;
    throw new DeadlineError(named, Math.round(deadline), {
      cause: error.likelyCause,
      output: await endOfLog(path, get),
      fix: `it goes on, perhaps; see it: ${node} → Task History; end it, on a Proxmox node: pvesh delete ${path}; then run the same command again: it looks first`,
    });
  });
  if (exitstatus === 'OK' || exitstatus.startsWith('WARNINGS')) return;
  const log = await endOfLog(path, get);
  throw new HomelabError(`${named} failed: ${exitstatus}`, {
    output: log,
    // Of a migration the status says only that it was aborted.
    fix: fixFor(exitstatus) ?? fixFor(log ?? '') ?? `the whole log: ${node} → Task History, ${upid}`,
  });
}

/** A change whose answer was lost. `agoMs`: how long before now it was sent. */
export type LostCall = {
  method: string;
  path: string;
  params?: PveRequest['params'];
  user: string;
  agoMs: () => number;
};

/** Seconds by which the start of a task may seem earlier than its call: the clocks of two nodes need not agree. */
const SLACK = 1;

/**
 * Whether a change whose answer was lost has started its task: that of its type, VM and user which began since then.
 * @param known tasks whose UPIDs were received, and which therefore are of other calls
 * @param seconds for how long is looked: Proxmox waits for the lock of a VM before it starts a task
 * @returns its UPID; undefined when there is none; a text when that cannot be known
 */
export async function lostTask(
  call: LostCall,
  known: ReadonlySet<string>,
  seconds: number,
  get: Get,
): Promise<{ upid?: string; looked?: string }> {
  const expected = taskOf(call);
  if (!expected) return {};
  const { node, type, id } = expected;
  let looked: string | undefined;
  for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(0.5)) {
    const answer = await get(`/nodes/${node}/tasks`, { source: 'all', typefilter: type, limit: 100 });
    if (!answer.ok || !answer.date) {
      looked = answer.ok ? undefined : `the tasks of ${node} cannot be read: ${answer.message}`;
      continue;
    }
    // Its clock and not ours: they need not agree.
    const since = Math.floor((answer.date.getTime() - call.agoMs()) / 1000) - SLACK;
    const upids = (answer.data as { upid: string }[]).map(({ upid }) => upid).filter((upid) => !known.has(upid));
    const found = upids.find((upid) => {
      const task = parseUpid(upid);
      return task.type === type && task.id === id && task.user === call.user && task.start >= since;
    });
    if (found) return { upid: found };
    looked = `${node} has no task of it, so it seems that it did not`;
  }
  return { looked };
}

/** The task that a call starts; undefined where it starts none, or we do not know it. */
function taskOf({ method, path, params }: LostCall): { node: string; type: string; id: string } | undefined {
  const [, node = '', id = '', verb = ''] = /^\/nodes\/([^/]+)\/qemu\/(\d+)(?:\/(.+))?$/.exec(path) ?? [];
  const type = TYPES[`${method} ${verb}`];
  if (type) return { node, type, id };
  const [, at] = /^\/nodes\/([^/]+)\/storage\/[^/]+\/download-url$/.exec(path) ?? [];
  return at === undefined ? undefined : { node: at, type: 'download', id: String(params?.filename) };
}

const TYPES: Record<string, string> = {
  'POST clone': 'qmclone',
  'POST migrate': 'qmigrate',
  'POST template': 'qmtemplate',
  'POST status/start': 'qmstart',
  'POST status/stop': 'qmstop',
  'POST status/shutdown': 'qmshutdown',
  'DELETE ': 'qmdestroy',
};

/** UPID:NODE:PID:PSTART:START:TYPE:ID:USER: */
function parseUpid(upid: string): { node: string; type: string; id: string; user: string; start: number } {
  const [, node = '', , , start = '', type = '', id = '', user = ''] = upid.split(':');
  return { node, type, id, user, start: Number.parseInt(start, 16) };
}

async function endOfLog(path: string, get: Get): Promise<string | undefined> {
  const log = await get(`${path}/log`, { limit: 5000 }, LOG);
  if (!log.ok) return undefined;
  const lines = (log.data as { t: string }[]).slice(-LOG_LINES).map(({ t }) => t);
  return lines.join('\n') || undefined;
}

function sleep(seconds: number): Promise<void> {
  return new Promise((done) => setTimeout(done, seconds * 1000));
}
