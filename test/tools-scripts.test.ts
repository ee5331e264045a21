import { strict as assert } from 'node:assert';
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { nodeArgv } from './node-argv.ts';
import { type ProvisionLab, startProvisionLab } from './provision-lab.ts';

/** Whole scripts where Terraform or Packer is missing, wrong or failing: named, before anything changed. */
const test = suite('scripts without their programs');
let lab: ProvisionLab;
let bin: string;
let none: string;
test.before(async () => {
  lab = await startProvisionLab(['terraform', 'packer']);
  bin = join(lab.workspace.folder, 'bin');
  none = join(lab.workspace.folder, 'none');
  mkdirSync(none);
  for (const tool of ['terraform', 'packer']) renameSync(join(bin, tool), join(bin, `stand-in-${tool}`));
});
test.after(async () => {
  assert.deepEqual(lab.pve.problems, []);
  await lab.close();
});

/** Puts a program there in the place of the stand-in; undefined: none. `$STAND_IN` is the stand-in. */
function put(tool: 'terraform' | 'packer' | 'tofu', script: string | undefined): void {
  const file = join(bin, tool);
  rmSync(file, { force: true });
  if (script === undefined) return;
  writeFileSync(file, `#!/bin/sh\nSTAND_IN='${join(bin, `stand-in-${tool}`)}'\n${script}\n`);
  chmodSync(file, 0o755);
}
const STAND_IN = 'exec "$STAND_IN" "$@"';
/** The stand-in, but for one command. */
const failing = (command: string, says: string): string =>
  `case " $* " in *" ${command} "*) echo '${says}' >&2; exit 1;; esac\n${STAND_IN}`;

/** Runs a script with nothing on PATH but what the lab has. */
async function run(script: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const argv = [...nodeArgv(`scripts/${script}.ts`), '--config', lab.workspace.configFile];
  return realExec().run([...argv, ...args], { cwd: TOOLKIT, deadline: 120, env: { PATH: none } });
}

/** Runs a script that must fail, say that, and leave Proxmox and the leases as they are. */
async function refused(script: string, ...says: RegExp[]): Promise<void> {
  const before = lab.pve.snapshot();
  const { code, stderr } = await run(script, '--yes');
  assert.equal(code, 1, stderr);
  for (const text of says) assert.match(stderr.replaceAll(/\s+/g, ' '), text);
  assert.ok(!/^\s+at .*\.ts:\d+/m.test(stderr), `a stack is shown:\n${stderr}`);
  assert.deepEqual(lab.pve.snapshot(), before);
  assert.deepEqual(
    lab.pve.requests.filter(({ method }) => method !== 'GET').map(({ method, path }) => `${method} ${path}`),
    [],
  );
  const leases = join(lab.workspace.folder, 'homelab.lock.yaml');
  assert.ok(!existsSync(leases) || !readFileSync(leases, 'utf8').includes('address:'), 'leases were given');
}

const PACKER = /developer\.hashicorp\.com\/packer\/install .*brew install hashicorp\/tap\/packer/;
const TERRAFORM = /developer\.hashicorp\.com\/terraform\/install .*brew install hashicorp\/tap\/terraform/;

test('build-template without Packer', async () => {
  put('packer', undefined);
  await refused('build-template', /packer is not installed; install Packer 1\.10 or newer/, PACKER);
});
test("build-template with Debian's Packer", async () => {
  put('packer', "echo 'Packer v1.6.6'");
  await refused('build-template', /packer 1\.6\.6 is older than 1\.10; install Packer/, PACKER);
});
test('build-template where the plugin cannot be fetched', async () => {
  put('packer', failing('init', 'Failed getting the "github.com/hashicorp/proxmox" plugin:'));
  await refused('build-template', /packer init/, /could not fetch its plugin/, /packer plugins install --path FILE/);
});
test('provision without Terraform', async () => {
  put('terraform', undefined);
  await refused('provision', /terraform is not installed; install Terraform 1\.9 or newer/, TERRAFORM);
});
test('provision with OpenTofu', async () => {
  put('tofu', "echo 'OpenTofu v1.9.0'");
  await refused('provision', /terraform is not installed; there is OpenTofu .*never tried with; install Terraform/);
  put('tofu', undefined);
});
test('provision with a Terraform that crashes', async () => {
  put('terraform', 'echo "panic: runtime error" >&2; exit 2');
  await refused('provision', /terraform version ended with exit code 2: panic: runtime error; install/);
});
test('check names them, too', async () => {
  put('terraform', "echo 'Terraform v1.5.7'");
  put('packer', 'echo "dictionary tool"');
  const { code, stdout } = await run('check', '--preflight');
  assert.equal(code, 1);
  assert.match(stdout, /✗ preflight +terraform 1\.5\.7 is older than 1\.9; install/);
  assert.match(stdout, /✗ preflight +\S+\/packer does not say its version, but: dictionary tool; install/);
});
test('provision where the provider cannot be fetched: named, no lease given, and the next run goes on', async () => {
  await lab.putTemplates();
  const registry = 'could not connect to registry.terraform.io: dial tcp 127.0.0.1:443: connect: connection refused';
  put('terraform', failing('init', `Error: Failed to query available provider packages ${registry}`));
  await refused('provision', /terraform init/, /registry could not be reached .*bpg\/proxmox/, /filesystem_mirror/);
  put('terraform', STAND_IN);
  const { code, stderr } = await run('provision', '--yes');
  assert.equal(code, 0, stderr);
});

test.run();
