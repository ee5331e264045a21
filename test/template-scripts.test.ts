import { strict as assert } from 'node:assert';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { openLab } from '../lib/lab-context.ts';
import { GROW_ROOT } from '../lib/observe/template.ts';
import { buildPorts } from '../lib/ports/index.ts';
import { type ProvisionLab, startProvisionLab } from './provision-lab.ts';

/** build-template as a process, with its stand-in for Packer: the ISO, a rebuild, and what is pruned. */
const test = suite('build-template: ISO, rebuild, --prune');
let lab: ProvisionLab;
test.before(async () => {
  lab = await startProvisionLab(['terraform', 'packer']);
});
test.after(async () => {
  assert.deepEqual(lab.pve.problems, []);
  await lab.close();
});

/** What a run says, on one line. */
async function says(code: number, ...args: string[]): Promise<string> {
  const outcome = await lab.run('build-template', ...args);
  const said = `${outcome.stdout} ${outcome.stderr}`.replaceAll(/\s+/g, ' ');
  assert.equal(outcome.code, code, said);
  return said;
}
const vms = (): string[] =>
  lab.pve
    .snapshot()
    .vms.map(({ vmid, node, config }) => `${vmid} ${node}${config.template === 1 ? '' : ' no template'}`);
const isos = (): string[] =>
  lab.pve.snapshot().volumes.flatMap(({ volid, content }) => (content === 'iso' ? volid : []));
const first = ['9000 pve-01', '9001 pve-02', '9002 pve-03'];
const second = ['9003 pve-01', '9004 pve-02', '9005 pve-03'];

test('a wrong checksum and a download that fails are named, and leave nothing', async () => {
  lab.pve.faults.set('sum', { kind: 'bad-download' }, 1);
  assert.match(await says(1), /checksum mismatch: got .*template\.iso\.sha256/);
  lab.pve.faults.set('url', { kind: 'fail-task', type: 'download', message: 'download failed: exit code 8' }, 1);
  assert.match(await says(1), /download failed: exit code 8.*template\.iso\.url exists/);
  assert.deepEqual([vms(), isos()], [[], []]);
});

test('the same command goes on, and the ISO carries its checksum in its name', async () => {
  await says(0);
  assert.deepEqual(vms(), first);
  assert.deepEqual(isos(), ['local:iso/ubuntu-24.04.3-live-server-amd64-c3514bf00561.iso']);
});

test('it has nothing that a clone must have of its own, and what grows its disk', () => {
  const root = join(lab.workspace.folder, 'machines', '9000', 'root');
  const text = (path: string): string => readFileSync(join(root, path), 'utf8');
  assert.equal(text('etc/machine-id'), '');
  assert.deepEqual(
    readdirSync(join(root, 'etc/ssh')).filter((name) => name.startsWith('ssh_host_')),
    [],
  );
  assert.equal(text('usr/local/sbin/grow-root'), readFileSync(GROW_ROOT, 'utf8'));
  assert.equal(statSync(join(root, 'usr/local/sbin/grow-root')).mode & 0o777, 0o755);
  assert.match(text('etc/systemd/system/grow-root.service'), /ExecStart=\S*\/usr\/local\/sbin\/grow-root\n/);
  assert.equal(text('etc/cloud/cloud.cfg.d/90-datasource.cfg'), 'datasource_list: [NoCloud, ConfigDrive]\n');
  assert.match(text('etc/cloud/cloud.cfg.d/90-growth.cfg'), /^growpart: \{ mode: "off" \}\nresize_rootfs: false\n$/);
  assert.ok(!existsSync(join(root, 'tmp/grow-root.sh')));
  assert.ok(!existsSync(join(root, 'var/lib/cloud/instance')), 'cloud-init starts afresh');
});

test('another ISO makes it stale, and a rebuild destroys nothing', async () => {
  const text = readFileSync(lab.workspace.configFile, 'utf8');
  writeFileSync(lab.workspace.configFile, text.replace('sha256: c3514', 'sha256: d3514'));
  assert.match(await says(3, '--check'), /packer build \(stale: iso changed\)/);
  assert.match(await says(0), /3 of 3 proofs hold/);
  assert.deepEqual(vms(), [...first, ...second]);
  assert.equal(isos().length, 2);
  assert.match(await says(0), /3 old templates: VM 9000 on pve-01 \(stale: iso changed\).*--prune/);
});

test('--prune asks, and leaves what a VM links to, and what is not ours', async () => {
  const { lab: opened, secrets, settings } = openLab(lab.workspace.configFile, {});
  const ports = buildPorts(opened, secrets, settings);
  await ports.pve.call('POST', '/nodes/pve-01/qemu/9000/clone', { newid: 300, full: 0, name: 'web' });
  await ports.close();
  lab.pve.addTemplate({ vmid: 301, node: 'pve-02', name: 'ubuntu-24.04', storage: 'local-zfs', diskGib: 20 });

  assert.match(await says(2, '--prune'), /give --confirm homelab/);
  const said = await says(0, '--prune', '--confirm', 'homelab');
  assert.match(said, /template ubuntu-24.04 \(VM 9001 on pve-02\): stale: iso changed/);
  assert.match(said, /template 9000 on pve-01 stays .*web \(VM 300 on pve-01\) links to it/);
  assert.deepEqual(vms(), ['300 pve-01 no template', '301 pve-02', '9000 pve-01', ...second]);
  assert.match(await says(0, '--prune'), /nothing to do/);
});

test('the VMIDs that were pruned are given again', async () => {
  const text = readFileSync(lab.workspace.configFile, 'utf8');
  writeFileSync(lab.workspace.configFile, text.replace('sha256: d3514', 'sha256: e3514'));
  await says(0, '--prune', '--confirm', 'homelab');
  assert.deepEqual(vms(), [
    '300 pve-01 no template',
    '301 pve-02',
    '9000 pve-01',
    '9001 pve-01',
    '9002 pve-02',
    '9006 pve-03',
  ]);
});

test.run();
