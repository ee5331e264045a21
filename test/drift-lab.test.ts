import { strict as assert } from 'node:assert';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { openLab } from '../lib/lab-context.ts';
import type { Finding } from '../lib/plan/check.ts';
import { buildPorts } from '../lib/ports/index.ts';
import type { Pve } from '../lib/ports/types.ts';
import { type ProvisionLab, startProvisionLab } from './provision-lab.ts';

/** After a provision that converged one source is changed, by hand; `check` must say which, and nothing else of VMs. */
const test = suite('drift in a lab');
let lab: ProvisionLab;
let pve: Pve;

test.before(async () => {
  lab = await startProvisionLab(['terraform', 'packer'], { withNas: true });
  await lab.putTemplates();
  const { code, stderr } = await lab.run('provision');
  assert.equal(code, 0, stderr);
  const { lab: opened, secrets, settings } = openLab(lab.workspace.configFile, {});
  pve = buildPorts(opened, secrets, settings).pve;
});
test.after(async () => {
  await lab.close();
});

type Checked = { exit: number; vms: string[]; findings: Finding[]; text: string };

/** What `check` says of VMs: the attribute and the odd ones of each finding of `drift`, and what provision would do. */
async function check(...args: string[]): Promise<Checked> {
  const { code, stdout, stderr } = await lab.run('check', '--json', ...args);
  assert.ok(stdout.startsWith('{'), stderr);
  const { report } = JSON.parse(stdout) as { report: { findings: Finding[] } };
  const findings = report.findings.filter(
    ({ area, level }) => ['drift', 'provision'].includes(area) && level !== 'ok' && level !== 'warning',
  );
  const vms = findings.map(({ area, level, drift, text }) =>
    drift ? `${drift.vm} ${drift.attribute}: ${drift.odd.join(', ')}` : `${area} ${level}: ${text}`,
  );
  return { exit: code, vms, findings, text: findings.map(({ text }) => text).join('\n') };
}

/** Changes a file of the lab for as long as `work` goes on. */
async function edited(file: string, from: string | RegExp, to: string, work: () => Promise<void>): Promise<void> {
  const before = readFileSync(file, 'utf8');
  const after = before.replace(from, to);
  assert.notEqual(after, before, `${from} is not in ${file}`);
  writeFileSync(file, after);
  try {
    await work();
  } finally {
    writeFileSync(file, before);
  }
}

const put = (params: Record<string, string | number>): Promise<unknown> =>
  pve.call('PUT', '/nodes/pve-02/qemu/200/config', params);
async function restart(node: string, vmid: number): Promise<void> {
  await pve.call('POST', `/nodes/${node}/qemu/${vmid}/status/stop`);
  await pve.call('POST', `/nodes/${node}/qemu/${vmid}/status/start`);
}
const stateFile = (): string => join(lab.state, 'terraform', 'terraform.tfstate');

test('none after a provision that converged', async () => {
  assert.deepEqual((await check()).vms, []);
});

test('memory in Proxmox', async () => {
  await put({ memory: 32768 });
  const { exit, vms, text } = await check();
  assert.deepEqual([exit, vms], [3, ['k3s-cp-01 memory: Proxmox']]);
  assert.equal(text, 'k3s-cp-01: memory: Proxmox disagrees: 32 GiB; homelab.yaml and state say 64 GiB');
  assert.deepEqual((await check('--limit', 'k3s-cp-02')).vms, []);
});

test('the same, where Terraform does not work', async () => {
  await edited(join(lab.workspace.folder, 'bin', 'terraform'), 'exec ', 'exit 1; exec ', async () => {
    const { exit, vms } = await check();
    assert.equal(exit, 1);
    assert.equal(vms[0], 'k3s-cp-01 memory: Proxmox');
  });
  await put({ memory: 65536 });
});

test('cores in homelab.yaml, a lease in homelab.lock.yaml, an attribute in the state, all at once', async () => {
  const lock = join(lab.workspace.folder, 'homelab.lock.yaml');
  await edited(lab.workspace.configFile, 'cores: 8', 'cores: 6', () =>
    edited(lock, 'address: 10.20.11.80', 'address: 10.20.11.84', () =>
      edited(stateFile(), /("name": "k3s-cp-02"[\s\S]*?"on_boot": )true/, '$1false', async () => {
        const { exit, vms, text } = await check();
        const expected = ['k3s-cp-01 address: homelab.lock.yaml', 'k3s-cp-02 on boot: state'];
        assert.deepEqual([exit, vms], [3, [...expected, 'k3s-gpu-01 cores: homelab.yaml']]);
        assert.match(text, /disagrees: 10\.20\.11\.84; state, Proxmox and guest agent say 10\.20\.11\.80/);
        assert.match(
          text,
          /homelab\.yaml differs from all others: 6; state and Proxmox say 8: changed and not applied/,
        );
      }),
    ),
  );
});

test('a state that is gone, and one that nobody can read', async () => {
  await edited(stateFile(), /^[\s\S]*$/, '', async () => {
    const { exit, text } = await check();
    assert.equal(exit, 3);
    assert.match(text, /^there is no \/.*\/terraform\.tfstate, and Proxmox has VMs of this lab: /);
  });
  await edited(stateFile(), '{', '', async () => {
    const { exit, vms } = await check();
    assert.equal(exit, 1);
    assert.equal(vms.length, 1, vms.join('\n'));
    assert.match(vms[0] ?? '', /^drift broken: Terraform's state \(\/.*terraform\.tfstate\) cannot be read/);
  });
});

test('a VM that is stopped, and one that has an address by DHCP', async () => {
  await pve.call('POST', '/nodes/pve-02/qemu/200/status/stop');
  lab.pve.faults.set('dhcp', { kind: 'dhcp', vmid: 201, address: '10.20.11.153' });
  await restart('pve-03', 201);
  const { exit, vms, text } = await check();
  assert.deepEqual([exit, vms], [3, ['k3s-cp-01 running: Proxmox', 'k3s-cp-02 address: guest agent']]);
  assert.match(text, /guest agent disagrees: 10\.20\.11\.153; .* say 10\.20\.11\.81 \(.*cloud-init did not apply/);
  lab.pve.faults.clear('dhcp');
});

test('a VM that was migrated, and one that was deleted', async () => {
  await pve.call('POST', '/nodes/pve-02/qemu/200/migrate', { target: 'pve-03', 'with-local-disks': 1 });
  await pve.call('POST', '/nodes/pve-03/qemu/200/status/start');
  await pve.call('POST', '/nodes/pve-03/qemu/201/status/stop');
  await pve.call('DELETE', '/nodes/pve-03/qemu/201', { purge: 1 });
  const { exit, vms, text } = await check();
  // Provision refuses to work with a VM that is elsewhere.
  assert.deepEqual([exit, vms], [1, ['k3s-cp-01 node: Proxmox', 'k3s-cp-02 existence: Proxmox']]);
  assert.match(text, /^k3s-cp-02: Proxmox does not have it; homelab\.yaml wants it, state knows VM 201/m);
});

test.run();
