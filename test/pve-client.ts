import { strict as assert } from 'node:assert';
import type { IncomingHttpHeaders } from 'node:http';
import { Agent, request } from 'node:https';
import type { Test } from 'uvu';
import { PASSWORD, PaperMachines, SECRET, type TestLab, TOKEN, testLab } from './pve-fixture.ts';

/** A plain client of the emulated API, for tests of what it answers. */

export type Reply = {
  status: number;
  reason: string;
  headers: IncomingHttpHeaders;
  body: string;
  data: unknown;
  message: string;
  errors: Record<string, string>;
};
export type Ask = {
  node?: string;
  auth?: string;
  body?: string;
  type?: string;
  headers?: Record<string, string>;
  agent?: Agent;
};
export type Context = { lab: TestLab; machines: PaperMachines };

/** A new handshake for each request would take most of a test's time. */
const connections = new Agent({ keepAlive: true });

export function ask(
  lab: TestLab,
  method: string,
  path: string,
  { node = 'pve-01', auth, body, type, headers, agent }: Ask = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const authorization = auth ?? `PVEAPIToken=${TOKEN}=${SECRET}`;
    const req = request(
      {
        ...{ host: '127.0.0.1', port: lab.pve.portOf(node), ca: lab.ca.certificate, agent: agent ?? connections },
        ...{ method, path: `/api2/json${path}` },
        headers: {
          ...(authorization && { authorization }),
          ...(body !== undefined && {
            'content-type': type ?? 'application/x-www-form-urlencoded',
            'content-length': Buffer.byteLength(body),
          }),
          ...headers,
        },
      },
      (response) => {
        let text = '';
        response.on('error', reject);
        response.on('data', (chunk: Buffer) => {
          text += chunk.toString();
        });
        response.on('end', () => {
          const isJson = response.headers['content-type']?.startsWith('application/json');
          const { data, message = '', errors = {} } = (isJson ? JSON.parse(text) : {}) as Partial<Reply>;
          const { statusCode = 0, statusMessage = '' } = response;
          resolve({
            status: statusCode,
            reason: statusMessage,
            headers: response.headers,
            body: text,
            data,
            message,
            errors,
          });
        });
      },
    );
    req.on('error', reject);
    req.end(body);
  });
}

/** A change whose task is waited for. @returns its exit status */
export async function exitOf(lab: TestLab, method: string, path: string, body?: string): Promise<string> {
  const reply = await ask(lab, method, path, { body });
  assert.equal(reply.status, 200, reply.body);
  return taskOf(lab, String(reply.data));
}

/** A change whose task is waited for. @returns its log, the exit status last */
export async function logOf(lab: TestLab, method: string, path: string, body?: string): Promise<string> {
  const reply = await ask(lab, method, path, { body });
  assert.equal(reply.status, 200, reply.body);
  const upid = String(reply.data);
  await taskOf(lab, upid);
  const { data } = await ask(lab, 'GET', `/nodes/${upid.split(':')[1]}/tasks/${upid}/log`);
  return (data as { t: string }[]).map(({ t }) => t).join('\n');
}

export async function taskOf(lab: TestLab, upid: string, headers?: Record<string, string>): Promise<string> {
  const node = upid.split(':')[1];
  for (let i = 0; i < 2000; i++) {
    const { data } = await ask(lab, 'GET', `/nodes/${node}/tasks/${upid}/status`, {
      ...(headers && { auth: '', headers }),
    });
    const { status, exitstatus = '' } = data as { status: string; exitstatus?: string };
    if (status === 'stopped') return exitstatus;
    await new Promise((done) => setTimeout(done, 5));
  }
  throw new Error(`${upid} did not end`);
}

/** Headers by which root@pam is known, who may do everything. */
export async function ticketOf(lab: TestLab): Promise<Record<string, string>> {
  const body = `username=root@pam&password=${PASSWORD}`;
  const { data } = await ask(lab, 'POST', '/access/ticket', { auth: '', body });
  const { ticket, CSRFPreventionToken } = data as { ticket: string; CSRFPreventionToken: string };
  return { cookie: `PVEAuthCookie=${encodeURIComponent(ticket)}`, csrfpreventiontoken: CSRFPreventionToken };
}

/** Waits until a look finds what is waited for. */
export async function until(look: () => Promise<boolean>): Promise<void> {
  for (let i = 0; i < 2000; i++) {
    if (await look()) return;
    await new Promise((done) => setTimeout(done, 5));
  }
  throw new Error('it did not come');
}

export const QEMU = '/nodes/pve-01/qemu';
/** Path and body of a clone of template 9000. */
export const clone = (newid: number, more = 'full=1'): [string, string] => [
  `${QEMU}/9000/clone`,
  `newid=${newid}&${more}`,
];
export const configOf = async (lab: TestLab, vmid: number, node = 'pve-01'): Promise<Record<string, string | number>> =>
  (await ask(lab, 'GET', `/nodes/${node}/qemu/${vmid}/config`)).data as Record<string, string | number>;

/** A fresh lab for each test, with template 9000 and an ISO on pve-01; nothing of the emulator itself may break. */
export function freshLabs(test: Test<Context>): void {
  test.before.each(async (context) => {
    context.machines = new PaperMachines();
    context.lab = await labWithTemplate({ machines: context.machines, isoSizes: true });
    context.lab.pve.addIso({ node: 'pve-01', volid: 'local:iso/ubuntu.iso', bytes: 2 ** 30 });
  });
  test.after.each(async ({ lab }) => {
    assert.deepEqual(lab.pve.problems, []);
    await lab.close();
  });
}

/** Runs `work` in a lab of its own, which is closed whatever comes of it. */
export async function inLab(
  options: Parameters<typeof testLab>[0],
  work: (lab: TestLab) => Promise<void>,
): Promise<void> {
  const lab = await labWithTemplate(options);
  try {
    await work(lab);
  } finally {
    await lab.close();
  }
}

async function labWithTemplate(options: Parameters<typeof testLab>[0] = {}): Promise<TestLab> {
  const lab = await testLab(options);
  lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'ubuntu-24.04', storage: 'local-zfs', diskGib: 20 });
  return lab;
}
