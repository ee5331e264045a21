import { execFile } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LabCa } from '../lib/lab/ca.ts';
import { findComponents } from '../lib/lab/components.ts';
import { type EmbeddedLab, startLab } from '../lib/lab/index.ts';
import { installTools } from '../lib/lab/tools/index.ts';
import { makeWorkspace, type Workspace } from '../lib/lab/workspace.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { nodeArgv } from './node-argv.ts';

/** Both servers rebooting at once is asked for, on a whole lab with a cluster; one story from test to test. */
const test = suite('provision: both servers at once, in the lab');
let root: string;
let workspace: Workspace;
let lab: EmbeddedLab;

const script = (name: string, ...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> =>
  new Promise((resolve) => {
    const [node = '', ...argv] = [...nodeArgv(`scripts/${name}.ts`), ...args, '--config', workspace.configFile];
    const options = { cwd: TOOLKIT, env: { PATH: process.env.PATH, HOME: root }, maxBuffer: 16 * 1024 * 1024 };
    execFile(node, argv, options, (error, stdout, stderr) => {
      resolve({ code: error ? (typeof error.code === 'number' ? error.code : 1) : 0, stdout, stderr });
    });
  });
const run = async (name: string, ...args: string[]): Promise<string> => {
  const { code, stderr } = await script(name, ...args);
  assert.is(code, 0, stderr);
  return stderr;
};
const edit = (from: RegExp, to: string): void => {
  const before = readFileSync(workspace.configFile, 'utf8');
  assert.match(before, from);
  writeFileSync(workspace.configFile, before.replaceAll(from, to));
};

test.before(async () => {
  root = mkdtempSync(join(tmpdir(), 'homelab-quorum-'));
  const ca = await LabCa.create();
  const found = await findComponents(realExec(), ['terraform', 'packer', 'postgresql']);
  workspace = makeWorkspace(join(TOOLKIT, 'homelab.yaml'), join(root, 'lab'), ca, found);
  installTools(join(workspace.folder, 'bin'), ['terraform', 'packer'], nodeArgv);
  lab = await startLab(workspace, ca);
});
test.after(async () => {
  await lab.close();
  rmSync(root, { recursive: true, force: true });
});

test('with a cluster it is refused, with the arithmetic and the way', async () => {
  for (const name of ['build-template', 'provision', 'install-k3s']) await run(name, '--yes');
  edit(/vmid: 20(0|1)(.*?)memory_gib: 64/gs, 'vmid: 20$1$2memory_gib: 32');
  const { code, stderr } = await script('provision', '--yes');
  assert.is(code, 1);
  assert.match(stderr, 'blocker: Terraform would restart k3s-cp-01, k3s-cp-02 at once: etcd: 2 members, 2 needed');
  assert.match(stderr, '--limit k3s-cp-01, then install-k3s until it is Ready; then k3s-cp-02 in the same way');
  assert.not.match(stderr, 'terraform apply');
});

test('one after the other it goes', async () => {
  assert.match(await run('provision', '--limit', 'k3s-cp-01', '--yes'), '✓ terraform apply');
  const { stdout } = await script('provision', '--dry-run');
  assert.match(stdout, 'change k3s-cp-02 in place: memory: 64 GiB → 32 GiB (restarts it)');
  assert.not.match(stdout, 'blocker');
});

test.run();
