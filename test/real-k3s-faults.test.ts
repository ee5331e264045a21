import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Ran } from './lab-scripts.ts';
import { withNamespaces } from './namespaces/enter.ts';
import { type NamespaceLab, startNamespaceLab } from './namespaces/lab.ts';

/**
 * What goes wrong with machines while K3s is installed, on hosts of their own: real disks that are full, firewalls, keys, sudo.
 * Each fault is named, leaves nothing half-done, and the next run goes on. K3s itself and systemd are emulated.
 */
const test = suite('faults of install-k3s on real hosts');
withNamespaces(test, import.meta.url, declare);

const SECOND = 'k3s-cp-02';
const CONFIG = '/etc/rancher/k3s/config.yaml';

function declare(): void {
  let lab: NamespaceLab;

  test.before(async () => {
    lab = await startNamespaceLab();
  });
  test.after(() => lab.close());

  const run = (...args: string[]): Promise<Ran> => lab.script('install-k3s', '--yes', ...args);
  const second = () => lab.host(SECOND);
  /** Fails, names the fault, and has started nothing on the second server. */
  const refused = async (...words: (string | RegExp)[]): Promise<void> => {
    const { code, stderr } = await run();
    assert.is(code, 1, stderr);
    for (const word of words) assert.match(stderr, word);
    assert.not.match(stderr, `✓ ${SECOND}: start k3s`);
    assert.not.match(stderr, /\btoken: /);
  };
  const temporary = (): string[] => {
    const folder = join(second().root, 'etc/rancher/k3s');
    return existsSync(folder) ? readdirSync(folder).filter((name) => name !== 'config.yaml') : [];
  };

  test('the power of the second server is cut: nothing is done to it, the first comes up', async () => {
    await lab.powerOff(SECOND);
    await refused(/blocker: k3s-cp-02 is not reachable: k3s-cp-02 \(10\.20\.11\.81\) does not answer by SSH/);
    await lab.boot(SECOND);
  });

  test('our key is not in its authorized_keys', async () => {
    const file = '/home/ops/.ssh/authorized_keys';
    const keys = second().readFile(file) ?? '';
    await second().run(`: > ${file}`);
    await refused(/k3s-cp-02 \(10\.20\.11\.81\) does not let ops in/);
    await second().run(`printf '%s' '${keys}' > ${file}`);
  });

  test('its host key has changed', async () => {
    await second().run(
      'cd /opt/lab && mv host_key host_key.old && ssh-keygen -q -t ed25519 -N "" -f host_key && kill -HUP $(pgrep -o sshd)',
    );
    await refused(/k3s-cp-02 \(10\.20\.11\.81\): its host key has changed/);
    await second().run('cd /opt/lab && mv host_key.old host_key && kill -HUP $(pgrep -o sshd)');
  });

  test('sudo does not know us', async () => {
    await second().run('mv /etc/sudoers.d/lab /opt/lab/sudoers');
    await refused(/k3s-cp-02.*sudo/);
    await second().run('mv /opt/lab/sudoers /etc/sudoers.d/lab');
  });

  test('it calls itself like another machine', async () => {
    await second().run('echo k3s-cp-01 > /etc/hostname');
    await refused(`blocker: ${SECOND} calls itself k3s-cp-01`);
    await second().run(`echo ${SECOND} > /etc/hostname`);
  });

  test('its clock is ten minutes ahead', async () => {
    await second().run(
      `printf '#!/bin/sh\\nexec /usr/bin/date -d "+10 minutes" "$@"\\n' > /usr/local/bin/date && chmod 755 /usr/local/bin/date`,
    );
    await refused(/blocker: the clock of k3s-cp-02 is (600|59\d|60\d) s ahead/);
    await second().run('rm /usr/local/bin/date');
  });

  test('the installer is not the one whose hash was recorded', async () => {
    const file = join(lab.folder, 'homelab.lock.yaml');
    const text = existsSync(file) ? readFileSync(file, 'utf8') : undefined;
    const url = 'https://raw.githubusercontent.com/k3s-io/k3s/v1.36.5%2Bk3s1/install.sh';
    const wrong = text?.includes(url)
      ? text.replace(/[0-9a-f]{64}/, 'f'.repeat(64))
      : `version: 1\nlab: homelab\nleases: []\ndownloads:\n  ${url}: ${'f'.repeat(64)}\n`;
    writeFileSync(file, wrong);
    await refused('f'.repeat(64));
    if (text === undefined) writeFileSync(file, 'version: 1\nlab: homelab\nleases: []\ndownloads: {}\n');
    else writeFileSync(file, text);
  });

  test('its disk is full when the configuration is written', async () => {
    await second().run(
      'mkdir -p /etc/rancher/k3s && mount -t tmpfs -o size=4k tmpfs /etc/rancher/k3s && echo x > /etc/rancher/k3s/fill',
    );
    await refused(`error: ${CONFIG} could not be written on ${SECOND}`, 'probable cause: its disk is full');
    assert.equal((await second().run('ls /etc/rancher/k3s')).trim(), 'fill', 'nothing temporary is left');
    await second().run('umount /etc/rancher/k3s');
  });

  test('its root file system is read-only', async () => {
    await second().run('mount -o remount,ro,bind /');
    await refused(/read-only/i);
    await second().run('mount -o remount,rw,bind /');
    assert.equal(temporary(), []);
  });

  test('a firewall before the API of the first server', async () => {
    lab.network.block('k3s-cp-01', 6443, { from: '10.20.11.81' });
    const { code, stderr } = await run();
    lab.network.unblock('k3s-cp-01');
    assert.is(code, 1, stderr);
    assert.match(stderr, /ports +k3s-cp-02 → k3s-cp-01 +6443 (no answer|timed out|refused)/);
    assert.match(stderr, 'probable cause: k3s-cp-02 does not reach port 6443 of k3s-cp-01');
  });

  test('the service fails although the install script said that all is well', async () => {
    lab.cluster.faults.units[`${SECOND}/k3s`] = 'no space left on device';
    const { code, stderr } = await run();
    delete lab.cluster.faults.units[`${SECOND}/k3s`];
    assert.is(code, 1, stderr);
    assert.match(stderr, `k3s on ${SECOND} failed to start`);
    assert.match(stderr, 'probable cause: the disk of k3s-cp-02 is full');
  });

  test('all mended: the next run brings everything up, as one cluster', async () => {
    const { code, stderr } = await run();
    assert.is(code, 0, stderr);
    assert.equal(
      lab.cluster.snapshot().clusters.map(({ servers }) => servers),
      [['k3s-cp-01', SECOND]],
    );
    assert.equal(await lab.plannedBy('install-k3s'), []);
    assert.equal(
      temporary().filter((name) => name !== 'k3s.yaml'),
      [],
    );
  });

  test('at most three round trips to each host, when there is nothing to do', async () => {
    const { stdout } = await run('--json');
    const { roundTrips } = JSON.parse(stdout) as { roundTrips: Record<string, number> };
    assert.equal(Object.keys(roundTrips).sort(), ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01']);
    for (const [name, count] of Object.entries(roundTrips)) assert.ok(count <= 3, `${name}: ${count}`);
  });

  test('the service of a node runs, and never gets ready', async () => {
    const agent = 'k3s-gpu-01';
    lab.cluster.faults.notReady = [agent];
    await lab.host(agent).run('systemctl restart k3s-agent');
    const { code, stderr } = await lab.hurried('install-k3s', '--yes');
    lab.cluster.faults.notReady = [];
    assert.is(code, 1, stderr);
    assert.match(stderr, `error: ${agent} is Ready at v1.36.5+k3s1: not within 600 s; last seen: it is not Ready`);
    // These hosts have no network of pods, which is what is found then.
    assert.match(stderr, /probable cause: k3s-cp-0\d does not reach k3s-gpu-01 through the network of the pods/);
    const mended = await run();
    assert.is(mended.code, 0, mended.stderr);
    assert.equal(await lab.plannedBy('install-k3s'), []);
  });

  test('one server is to restart while the other one is down: refused, with the arithmetic', async () => {
    lab.edit('search_domain: home.arpa', 'search_domain: lab.arpa');
    await second().run('systemctl stop k3s');
    const { code, stderr } = await run('--limit', 'k3s-cp-01');
    assert.is(code, 1, stderr);
    assert.match(stderr, 'k3s-cp-01 must not be stopped now. etcd: 2 members, 2 needed (⌊2/2⌋+1), 1 ready');
    assert.match(stderr, `to fix: start ${SECOND} first`);
    assert.is((await lab.host('k3s-cp-01').run('systemctl is-active k3s')).trim(), 'active', 'it was not touched');
    const mended = await run();
    assert.is(mended.code, 0, mended.stderr);
    assert.equal(await lab.plannedBy('install-k3s'), []);
  });

  test('another token on a node: it is told, and its own comes back', async () => {
    await lab.host('k3s-gpu-01').run(`sed -i 's/^token: .*/token: "beef"/' ${CONFIG}`);
    const { stdout } = await lab.script('install-k3s', '--check');
    assert.match(stdout, 'token differs');
    const { code, stderr } = await run();
    assert.is(code, 0, stderr);
    assert.equal(await lab.plannedBy('install-k3s'), []);
  });

  test('the first server is lost: the rebuilt one joins the other, after a question', async () => {
    await lab.rebuild('k3s-cp-01');
    const asked = await run();
    assert.is(asked.code, 2, asked.stderr);
    assert.match(asked.stderr, 'warning: k3s-cp-01 was replaced, and etcd has no majority. etcd: 2 members, 2 needed');
    const { code, stderr } = await run('--confirm', 'homelab');
    assert.is(code, 0, stderr);
    assert.equal(
      lab.cluster.snapshot().clusters.map(({ servers }) => servers),
      [['k3s-cp-01', SECOND]],
    );
    assert.equal(await lab.plannedBy('install-k3s'), []);
  });
}

test.run();
