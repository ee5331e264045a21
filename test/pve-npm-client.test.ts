import { strict as assert } from 'node:assert';
import proxmoxApi, { type Proxmox } from 'proxmox-api';
import { Agent, fetch } from 'undici';
import { suite } from 'uvu';
import { PASSWORD, PaperMachines, SECRET, type TestLab, TOKEN, testLab } from './pve-fixture.ts';

/** npm's proxmox-api, as its manual has it, against the emulator: a client that knows nothing of ours. */
type Context = { lab: TestLab; machines: PaperMachines; agent: Agent; api: Proxmox.Api; sent: string[] };
const test = suite<Context>('npm proxmox-api against the emulator');

test.before.each(async (context) => {
  context.machines = new PaperMachines();
  context.lab = await testLab({ machines: context.machines });
  context.lab.pve.addTemplate({ vmid: 9000, node: 'pve-01', name: 'ubuntu', storage: 'local-zfs', diskGib: 20 });
  context.agent = new Agent({ connect: { ca: context.lab.ca.certificate } });
  context.sent = [];
  context.api = apiOf(context, { tokenID: TOKEN, tokenSecret: SECRET });
});
test.after.each(async ({ lab, agent }) => {
  assert.deepEqual(lab.pve.problems, []);
  await agent.close();
  await lab.close();
});

test('the life of a VM: clone, configuration, migrate, start, agent, stop, destroy', async ({ api, lab, machines }) => {
  const vm = (node: string) => api.nodes.$(node).qemu.$(120);
  const clone = await api.nodes.$('pve-01').qemu.$(9000).clone.$post({ newid: 120, full: true, name: 'web' });
  assert.equal(await ended(api, clone), 'OK');
  assert.equal(await vm('pve-01').config.$put({ cores: 4, ide2: 'local-zfs:cloudinit', ipconfig0: IP }), null);
  assert.equal(await ended(api, await vm('pve-01').migrate.$post({ target: 'pve-02' })), 'OK');
  const config = await vm('pve-02').config.$get();
  assert.deepEqual([config.name, config.cores, config.ide2], ['web', 4, 'local-zfs:vm-120-cloudinit,media=cdrom']);
  assert.equal(await ended(api, await vm('pve-02').status.start.$post()), 'OK');
  const interfaces = await agentOf(() => vm('pve-02').agent['network-get-interfaces'].$get());
  assert.match(JSON.stringify(interfaces), /"ip-address":"10\.20\.11\.80"/);
  assert.equal((await vm('pve-02').status.current.$get()).status, 'running');
  assert.equal(await ended(api, await vm('pve-02').status.stop.$post()), 'OK');
  assert.equal(await ended(api, await vm('pve-02').$delete({ purge: true })), 'OK');
  assert.deepEqual([machines.stopped, machines.destroyed], [[120], [120]]);
  assert.deepEqual(
    lab.pve.snapshot().vms.map(({ vmid }) => vmid),
    [9000],
  );
});

test('errors: 400 and 500 say why, 403 is another kind, 401 is named', async (context) => {
  const { api, lab } = context;
  const template = api.nodes.$('pve-01').qemu.$(9000);
  await assert.rejects(template.clone.$post({ newid: 7 }), /return Error 400 .*minimum value of 100/);
  await assert.rejects(api.nodes.$('pve-01').qemu.$(101).config.$get(), /return Error 500 .*101\.conf' does not exist/);
  lab.pve.faults.set('deny', { kind: 'deny', request: { method: 'POST' }, path: '/vms/9000', privilege: 'VM.Clone' });
  await assert.rejects(template.clone.$post({ newid: 120 }), /connection failed with 403 .*\(\/vms\/9000, VM\.Clone\)/);
  const stranger = apiOf(context, { tokenID: TOKEN, tokenSecret: SECRET.replace('0', '1') });
  await assert.rejects(stranger.version.$get(), /return Error 401 invalid token value!/);
});

test('a task that fails says so in its status and its log', async ({ api, lab }) => {
  lab.pve.faults.set('full', { kind: 'fill', storage: 'local-zfs' });
  const upid = await api.nodes.$('pve-01').qemu.$(9000).clone.$post({ newid: 120, full: true });
  assert.match(await ended(api, upid), /^clone failed: .*out of space$/);
  const log = await api.nodes.$('pve-01').tasks.$(upid).log.$get();
  assert.match(log.at(-1)?.t ?? '', /^TASK ERROR: clone failed/);
});

test('a POST whose answer is lost is sent twice: why ours wraps its fetch', async ({ api, lab, sent }) => {
  const request = { method: 'POST', path: /\/clone$/ };
  lab.pve.faults.set('cut', { kind: 'drop', request, when: 'after' }, 1);
  const again = api.nodes.$('pve-01').qemu.$(9000).clone.$post({ newid: 120, full: true });
  await assert.rejects(again, /config file already exists/);
  assert.equal(sent.filter((line) => line.startsWith('POST')).length, 2);
});

test('a password, a ticket and its CSRF token', async (context) => {
  const root = apiOf(context, { username: 'root@pam', password: PASSWORD });
  assert.equal(await root.nodes.$('pve-01').qemu.$(9000).config.$put({ onboot: true }), null);
  assert.equal((await root.nodes.$('pve-01').qemu.$(9000).config.$get()).onboot, 1);
});

const IP = 'ip=10.20.11.80/24,gw=10.20.11.1';

type Login = { tokenID: string; tokenSecret: string } | { username: string; password: string };

function apiOf({ lab, agent, sent }: Context, login: Login): Proxmox.Api {
  return proxmoxApi({
    ...{ host: '127.0.0.1', port: lab.pve.portOf('pve-01'), queryTimeout: 1000, authTimeout: 1000 },
    ...login,
    fetch: (url, options) => {
      sent.push(`${options?.method} ${url}`);
      return fetch(url, { ...options, dispatcher: agent });
    },
  });
}

/** The exit status of a task. */
async function ended(api: Proxmox.Api, upid: string): Promise<string> {
  const node = upid.split(':')[1] ?? '';
  for (let i = 0; i < 500; i++) {
    const { status, exitstatus } = await api.nodes.$(node).tasks.$(upid).status.$get();
    if (status === 'stopped') return exitstatus ?? '';
    await new Promise((done) => setTimeout(done, 10));
  }
  throw new Error(`${upid} does not end`);
}

/** Asks until the guest is up. */
async function agentOf<T>(look: () => Promise<T>): Promise<T> {
  for (let i = 0; i < 500; i++) {
    try {
      return await look();
    } catch (error) {
      assert.match(String(error), /QEMU guest agent is not running/);
    }
    await new Promise((done) => setTimeout(done, 10));
  }
  throw new Error('the agent does not answer');
}

test.run();
