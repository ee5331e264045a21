import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { withNamespaces } from './namespaces/enter.ts';
import { NamespaceHost } from './namespaces/host.ts';
import { type NamespaceLab, startNamespaceLab } from './namespaces/lab.ts';

/**
 * A lab that is not next door: its nodes take SSH from a jump host only, which ~/.ssh/config names, and the cables are slow and
 * lose frames. The scripts do what they always do.
 */
const test = suite('a lab behind a jump host and bad cables');
withNamespaces(test, import.meta.url, declare);

const NODES = ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'];
const JUMP = '10.20.11.30';

function declare(): void {
  let lab: NamespaceLab;
  let jump: NamespaceHost;

  test.before(async () => {
    const cable = { milliseconds: 15, loss: 5 };
    lab = await startNamespaceLab({ hosts: Object.fromEntries(NODES.map((name) => [name, { cable }])) });
    const { sshKeys, gateway } = lab.host('k3s-cp-01').spec;
    jump = new NamespaceHost({ name: 'jump', address: JUMP, gateway, user: 'guest', sshKeys }, lab.network, new Map());
    await jump.boot();
    for (const name of NODES) lab.network.block(name, 22, { from: '10.20.11.1' });
    const ssh = join(dirname(lab.folder), '.ssh');
    mkdirSync(ssh, { mode: 0o700 });
    writeFileSync(
      join(ssh, 'config'),
      `Host bastion\n  HostName ${JUMP}\n  User guest\n  IdentityFile ${join(lab.folder, 'id_ed25519')}\n\nHost 10.20.11.8*\n  ProxyJump bastion\n`,
    );
    writeFileSync(join(ssh, 'known_hosts'), `${JUMP} ${jump.hostKey}\n`);
  });
  test.after(async () => {
    await jump.destroy();
    await lab.close();
  });

  test('K3s is installed through it, and proven', async () => {
    const { code, stderr } = await lab.script('install-k3s', '--yes');
    assert.is(code, 0, stderr);
    assert.match(stderr, /(\d+) of \1 proofs hold/);
    assert.equal(await lab.plannedBy('install-k3s'), []);
    for (const name of NODES)
      assert.match(await lab.host(name).run('cat /run/sshd.log'), `Accepted publickey for ops from ${JUMP}`);
    assert.match(await jump.run('cat /run/sshd.log'), 'Accepted publickey for guest from 10.20.11.1');
  });

  test('a jump host that is down is told as what it is', async () => {
    await jump.powerOff();
    const { code, stderr } = await lab.script('install-k3s', '--yes');
    assert.is(code, 1);
    assert.match(stderr, /bastion.*does not answer by SSH/);
    await jump.boot();
    assert.is((await lab.script('install-k3s', '--yes')).code, 0);
  });
}

test.run();
