import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { TOOLKIT } from '../lib/paths.ts';
import { nodeArgv } from './node-argv.ts';
import { type ProvisionLab, startProvisionLab } from './provision-lab.ts';

/** Whole scripts against the emulated Proxmox and its guests, with the stand-ins for Packer and Terraform. */
const test = suite('build-template and provision');
let lab: ProvisionLab;
test.before(async () => {
  lab = await startProvisionLab(['terraform', 'packer']);
});
test.after(async () => {
  assert.deepEqual(lab.pve.problems, []);
  await lab.close();
});

type Result = {
  applied: { id: string }[];
  proofs: { ok: boolean; claim: string }[];
  plan: { steps: { id: string }[] };
  exit: number;
};

async function result(script: string, ...args: string[]): Promise<Result> {
  const { code, stdout, stderr } = await lab.run(script, '--json', ...args);
  assert.ok(code === 0 || code === 3, `${script} ended with ${code}:\n${stderr}`);
  const parsed = JSON.parse(stdout) as Result;
  assert.deepEqual(
    parsed.proofs.filter(({ ok }) => !ok).map(({ claim }) => claim),
    [],
  );
  return parsed;
}

/** Starts a script and kills it, and it alone, as soon as it has started that step. */
async function killedAt(script: string, step: string): Promise<void> {
  const [node = '', ...argv] = nodeArgv(`scripts/${script}.ts`);
  const child = spawn(node, [...argv, '--config', lab.workspace.configFile, '--yes', '--verbose'], {
    cwd: TOOLKIT,
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let said = '';
  child.stderr.on('data', (chunk: Buffer) => {
    said += chunk.toString();
    if (said.includes(`… ${step}`)) setTimeout(() => child.kill('SIGKILL'), 700);
  });
  const signal = await new Promise((resolve) => child.on('exit', (_code, by) => resolve(by)));
  assert.equal(signal, 'SIGKILL', `it ended before ${step}:\n${said}`);
}

const vms = () =>
  lab.pve.snapshot().vms.map(({ vmid, node, status, config }) => `${vmid} ${node} ${status} ${config.template ?? ''}`);

test('a template on each node, though the first run was killed', async () => {
  await killedAt('build-template', 'pve-01: packer build');
  assert.equal((await result('build-template')).proofs.length, 3);
  assert.deepEqual(vms(), ['9000 pve-01 stopped 1', '9001 pve-02 stopped 1', '9002 pve-03 stopped 1']);
  assert.deepEqual((await result('build-template')).applied, []);
});

test('three VMs that answer, though the first run was killed', async () => {
  await killedAt('provision', 'terraform apply');
  assert.equal((await result('provision')).proofs.length, 12);
  assert.deepEqual(vms().slice(0, 3), ['200 pve-02 running ', '201 pve-03 running ', '210 pve-01 running ']);
  assert.equal(vms().length, 6);
  const leases = readFileSync(join(lab.workspace.folder, 'homelab.lock.yaml'), 'utf8');
  assert.equal(leases.match(/address:/g)?.length, 3);
});

test('a look at what is done finds nothing, and changes nothing', async () => {
  const before = lab.pve.snapshot();
  assert.equal((await result('provision', '--check')).exit, 0);
  assert.deepEqual(lab.pve.snapshot(), before);
});

test('VMs of ours that the state lost are imported, not made again', async () => {
  const before = lab.pve.snapshot();
  rmSync(join(lab.state, 'terraform', 'terraform.tfstate'));
  const { applied } = await result('provision');
  assert.equal(applied.filter(({ id }) => id.startsWith('terraform/import')).length, 3);
  assert.deepEqual(lab.pve.snapshot(), before);
});

test('a change in place, of one VM', async () => {
  const text = readFileSync(lab.workspace.configFile, 'utf8');
  writeFileSync(lab.workspace.configFile, text.replace('cores: 8', 'cores: 6'));
  const { plan } = await result('provision', '--check');
  assert.deepEqual(
    plan.steps.filter(({ id }) => !id.startsWith('terraform/')).map(({ id }) => id),
    ['generated', 'k3s-gpu-01/agent', 'k3s-gpu-01/ssh', 'k3s-gpu-01/cloud-init'],
  );
  await result('provision');
  assert.equal(lab.pve.snapshot().vms.find(({ vmid }) => vmid === 210)?.config.cores, 6);
});

test('a VM that homelab.yaml no longer has is destroyed only when it is named', async () => {
  const text = readFileSync(lab.workspace.configFile, 'utf8');
  writeFileSync(lab.workspace.configFile, text.replace(/^.*name: k3s-cp-02,.*\n/m, ''));
  const refused = await lab.run('provision');
  assert.equal(refused.code, 2, refused.stderr);
  assert.match(refused.stderr, /VM k3s-cp-02 \(201 on pve-03\) with its disk/);
  assert.equal(vms().length, 6);
  await result('provision', '--confirm', 'k3s-cp-02');
  assert.ok(!vms().some((vm) => vm.startsWith('201')));
  assert.ok(!readFileSync(join(lab.state, 'known_hosts'), 'utf8').includes('k3s-cp-02'));
});

test.run();
