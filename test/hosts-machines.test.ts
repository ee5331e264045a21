import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { genericPrograms, LabMachines } from '../lib/lab/hosts/index.ts';
import type { GuestSpec } from '../lib/lab/types.ts';
import { type TestLab, testLab } from './hosts-lab.ts';

const test = suite('hosts: machines');
let lab: TestLab;
let machines: LabMachines;
let spec: GuestSpec;

test.before(async () => {
  lab = await testLab();
  machines = new LabMachines({ folder: join(lab.folder, 'vms'), world: lab.world, endpoints: lab.endpoints });
  spec = {
    ...{ vmid: 200, name: 'k3s-cp-01', node: 'pve-02', address: '10.20.11.80', cloudInit: true, user: 'ops' },
    ...{
      sshKeys: [lab.publicKey],
      cores: 4,
      memoryMib: 65536,
      diskBytes: 50 * 2 ** 30,
      macs: ['BC:24:11:AA:BB:CC'],
      gpus: [],
    },
  };
});
test.after(async () => {
  await machines.close();
  await lab.close();
});

test('a machine answers at its address once it is booted, by the key that its agent shows', async () => {
  const guest = await machines.boot(spec);
  const key = await guest.readFile('/etc/ssh/ssh_host_ed25519_key.pub');
  assert.ok(key?.startsWith(guest.hostKey));
  await lab.ssh.learnHostKey('k3s-cp-01', key ?? '');
  assert.equal(await lab.ssh.reachable('k3s-cp-01'), { ok: true, value: true });
  assert.is((await lab.ssh.run('k3s-cp-01', ['hostname'])).stdout, 'k3s-cp-01\n');
  assert.is(machines.find('k3s-cp-01')?.address, '10.20.11.80');
});

test('powered off it does not answer; booted again it is the same machine', async () => {
  await lab.ssh.upload('k3s-cp-01', '/srv/kept', 'x', { mode: '0644', sudo: true });
  const host = machines.find('k3s-cp-01');
  await machines.stop(200);
  assert.equal((await lab.ssh.reachable('k3s-cp-01')).ok, false);
  const again = await machines.boot(spec);
  assert.is(again.hostKey, host?.hostKey);
  assert.equal(await lab.ssh.readFile('k3s-cp-01', '/srv/kept'), { ok: true, value: 'x' });
});

test('reboot brings it back, with another boot id and the same disk', async () => {
  for (const [name, run] of genericPrograms(lab.world, { nas: lab.nas, reboot: (address) => machines.reboot(address) }))
    lab.world.programs.set(name, run);
  const bootId = async (): Promise<string> =>
    (await lab.ssh.run('k3s-cp-01', ['cat', '/proc/sys/kernel/random/boot_id'])).stdout;
  const before = await bootId();
  await lab.ssh.run('k3s-cp-01', ['reboot'], { sudo: true });
  await new Promise((done) => setTimeout(done, 600));
  assert.is.not(await bootId(), before);
  assert.equal(await lab.ssh.readFile('k3s-cp-01', '/srv/kept'), { ok: true, value: 'x' });
});

test('a clone with a wrong address answers at the wrong one only', async () => {
  lab.endpoints.set('10.20.11.81', null);
  const wrong = await machines.boot({ ...spec, vmid: 201, name: 'k3s-cp-02', address: '10.20.11.99' });
  assert.match(JSON.stringify(await lab.ssh.reachable('k3s-cp-02')), /refused|ECONNREFUSED/);
  assert.is(lab.context.endpoints.dial('10.20.11.99', 22).host, '127.0.0.1');
  await wrong.stop();
});

test('without an address it has a link-local one', async () => {
  const guest = await machines.boot({ ...spec, vmid: 9000, name: 'template', address: undefined, cloudInit: false });
  assert.is(guest.address, '169.254.35.40');
  await guest.stop();
});

test('two machines with one address: the last that booted answers', async () => {
  const first = machines.find('k3s-cp-01');
  const second = await machines.boot({ ...spec, vmid: 299, name: 'intruder' });
  assert.match(JSON.stringify(await lab.ssh.reachable('k3s-cp-01')), /true|changed/);
  await second.stop();
  assert.is(lab.context.endpoints.dial('10.20.11.80', 22).port, first?.port);
});

test('destroyed, its disk is gone, and the next one has another key', async () => {
  const before = machines.find('k3s-cp-01')?.hostKey;
  await machines.stop(200);
  await machines.destroy(200);
  assert.not.ok(existsSync(join(lab.folder, 'vms', '200')));
  const guest = await machines.boot(spec);
  assert.is.not(guest.hostKey, before);
  const answer = await lab.ssh.reachable('k3s-cp-01');
  assert.match(answer.ok ? '' : answer.reason, /host key has changed/);
});

test.run();
