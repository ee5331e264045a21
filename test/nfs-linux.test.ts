import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { observeNas } from '../lib/observe/nfs.ts';
import { planExports } from '../lib/plan/nfs-exports.ts';
import type { LinuxNasSeen } from '../lib/plan/nfs-seen.ts';
import type { Plan } from '../lib/step.ts';
import { type TestLab, testLab } from './hosts-lab.ts';

/** A NAS that is a plain Linux server: its exports are set over SSH, in a real shell. */
const Linux = suite('exports of a Linux NAS');
let world: TestLab;
let root: string;
const SHARES = ['/var/nfs/shared/VMStorage', '/var/nfs/shared/K3sStorage'];

Linux.before(async () => {
  world = await testLab();
  world.lab.config.nas[0]!.kind = 'linux';
  root = (await world.start('unas', { user: 'root' })).root;
});
Linux.after(() => world.close());

async function look(): Promise<Plan> {
  const { config } = world.lab;
  const plan = planExports(world.lab, { nas: { unas: await observeNas(config.nas[0]!, world.ssh) }, hosts: {} });
  return { ...plan, notes: plan.notes.filter(({ level }) => level !== 'info') };
}

/** Uploads and commands, as lib/apply.ts does them. */
async function apply({ steps }: Plan): Promise<void> {
  for (const { action } of steps) {
    if (action.kind === 'upload')
      await world.ssh.upload(action.host, action.path, String(action.content), { mode: action.mode, sudo: true });
    else if (action.kind === 'remote') {
      const { code, stderr } = await world.ssh.run(action.host, action.argv.map(String), { sudo: action.sudo });
      assert.is(code, 0, stderr);
    }
  }
}

Linux('folders that are not there are said, not made', async () => {
  const { notes } = await look();
  assert.equal(
    notes.map(({ level, text }) => `${level}: ${text}`),
    SHARES.map((share) => `blocker: unas has no folder ${share}`),
  );
  for (const share of SHARES) mkdirSync(join(root, share), { recursive: true });
});

Linux('they are set, and then there is nothing to do', async () => {
  for (const share of SHARES) world.nas.setClients('unas', share, []);
  assert.is(world.nas.allowed('unas', SHARES[1]!, '10.20.11.85'), false);
  const plan = await look();
  assert.equal(plan.notes, []);
  assert.equal(
    plan.steps.map(({ id }) => id),
    ['unas/exports', 'unas/exportfs'],
  );
  await apply(plan);
  assert.equal(await look(), { steps: [], notes: [] });
  assert.is(world.nas.allowed('unas', SHARES[1]!, '10.20.11.85'), true);
  assert.is(world.nas.allowed('unas', SHARES[1]!, '10.20.11.11'), false);
  const file = join(root, 'etc/exports.d/homelab.exports');
  assert.is(statSync(file).mode & 0o777, 0o644);
  assert.match(readFileSync(file, 'utf8'), '/var/nfs/shared/VMStorage 10.20.11.11(rw,');
});

Linux('written but not in force, as after an interruption: only exportfs is left', async () => {
  world.nas.setClients('unas', SHARES[0]!, []);
  const plan = await look();
  assert.equal(
    plan.steps.map(({ id }) => id),
    ['unas/exportfs'],
  );
  await apply(plan);
  assert.equal((await look()).steps, []);
});

Linux('a client that homelab.yaml does not name is a warning', async () => {
  world.nas.setClients('unas', SHARES[0]!, ['10.20.11.11', '10.20.11.12', '10.20.11.13', '*']);
  const { steps, notes } = await look();
  assert.equal(steps, []);
  assert.equal(
    notes.map(({ level, text }) => `${level}: ${text}`),
    ['warning: unas exports /var/nfs/shared/VMStorage to * too, which homelab.yaml does not allow'],
  );
});
Linux('a parent folder that is open makes ours moot', async () => {
  const { notes } = planExports(world.lab, {
    nas: { unas: { ok: true, value: { ...(await seen()), active: `${(await seen()).active}\n/var/nfs  *(rw)` } } },
    hosts: {},
  });
  const loud = notes.filter(({ level }) => level === 'warning').map(({ text }) => text);
  assert.equal(
    loud.filter((text) => text.includes('lies in it')),
    SHARES.map((share) => `unas exports /var/nfs to *, and ${share} lies in it: who may mount the one has the other`),
  );
});

Linux('where sudo is refused, nothing was seen', async () => {
  const refused = { ...world.ssh, read: async () => ({ ok: true as const, value: denied }) };
  const answer = await observeNas(world.lab.config.nas[0]!, refused);
  assert.equal(answer, {
    ok: false,
    reason: 'it cannot be looked at as root (exit code 1): sudo: a password is required',
  });
});
const denied = { code: 1, stdout: '', stderr: 'sudo: a password is required\n' };

async function seen(): Promise<LinuxNasSeen> {
  const answer = await observeNas(world.lab.config.nas[0]!, world.ssh);
  if (!answer.ok) throw new Error(answer.reason);
  return answer.value;
}
Linux.run();
