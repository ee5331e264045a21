import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import { LabCa } from '../lib/lab/ca.ts';
import { findComponents } from '../lib/lab/components.ts';
import { type EmbeddedLab, startLab } from '../lib/lab/index.ts';
import { installTools } from '../lib/lab/tools/index.ts';
import { makeWorkspace, type Workspace } from '../lib/lab/workspace.ts';
import { openLab } from '../lib/lab-context.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { buildPorts } from '../lib/ports/index.ts';
import type { Outcome } from '../lib/ports/types.ts';
import { nodeArgv } from './node-argv.ts';

/** One lab from its first day to the day on which it is switched off, and what `check` says of it, for people. */
const test = suite('check, from a fresh lab to one that is off');
const exec = realExec();
const folder = mkdtempSync(join(tmpdir(), 'homelab-check-'));
let workspace: Workspace;
let lab: EmbeddedLab;
let open = true;

test.before(async () => {
  const ca = await LabCa.create();
  const standIns = ['terraform', 'packer'] as const;
  workspace = makeWorkspace(
    join(TOOLKIT, 'homelab.yaml'),
    join(folder, 'lab'),
    ca,
    await findComponents(exec, [...standIns, 'postgresql']),
  );
  installTools(join(workspace.folder, 'bin'), standIns, nodeArgv);
  lab = await startLab(workspace, ca);
});
test.after(async () => {
  if (open) await lab.close();
  rmSync(folder, { recursive: true, force: true });
});

const run = (script: string, ...args: string[]): Promise<Outcome> =>
  exec.run([...nodeArgv(`scripts/${script}.ts`), ...args, '--config', workspace.configFile], {
    cwd: TOOLKIT,
    deadline: 120,
  });

/** What is not as wanted, a line each, without warnings; and the exit code. */
async function check(): Promise<{ exit: number; lines: string[] }> {
  const { code, stdout } = await run('check');
  return { exit: code, lines: stdout.split('\n').filter((line) => /^[~✗…] /.test(line)) };
}

test('a fresh lab: what is to be done first, and who waits for it', async () => {
  const { exit, lines } = await check();
  assert.equal(exit, 3, lines.join('\n'));
  assert.ok(lines.length <= 10, lines.join('\n'));
  const waiting = lines.filter((line) => line.startsWith('…'));
  assert.match(waiting[0] ?? '', /drift +k3s-cp-01, k3s-cp-02, k3s-gpu-01 wait for provision: never made/);
  assert.match(waiting[1] ?? '', /provision waits for build-template: /);
  assert.match(
    waiting[2] ?? '',
    /install-k3s, setup-nfs, etcd-snapshot wait for provision: .*k3s-cp-01.*; so are k3s-cp-02, k3s-gpu-01$/,
  );
  assert.match(waiting[3] ?? '', /install-metallb, setup-nfs, setup-ingress wait for install-k3s: /);
  assert.ok(
    lines.every((line) => /^…|^~ build-template /.test(line)),
    lines.join('\n'),
  );
});

test('one that converged: nothing', async () => {
  const chain = ['build-template', 'provision', 'install-k3s', 'install-metallb', 'setup-nfs'];
  for (const [script = '', ...command] of [
    ...chain.map((name) => [name]),
    ['etcd-snapshot', 'install'],
    ['setup-ingress'],
  ]) {
    const { code, stderr } = await run(script, ...command, '--yes');
    assert.equal(code, 0, `${script}:\n${stderr}`);
  }
  assert.deepEqual(await check(), { exit: 0, lines: [] });
});

test('memory changed by hand in Proxmox: one line, which names Proxmox', async () => {
  const { lab: opened, secrets, settings } = openLab(workspace.configFile, {});
  const { pve, close } = buildPorts(opened, secrets, settings);
  await pve.call('PUT', '/nodes/pve-02/qemu/200/config', { memory: 32768 });
  const { exit, lines } = await check();
  assert.equal(exit, 3);
  assert.equal(lines.length, 1, lines.join('\n'));
  assert.match(
    lines[0] ?? '',
    /k3s-cp-01: memory: Proxmox disagrees: 32 GiB; homelab\.yaml and state say 64 GiB; provision /,
  );
  await close();
});

test('switched off: each thing that does not answer once, and nothing made of what was not seen', async () => {
  open = false;
  await lab.close();
  const { exit, lines } = await check();
  assert.equal(exit, 1, lines.join('\n'));
  assert.ok(lines.length <= 8, lines.join('\n'));
  for (const node of ['pve-01', 'pve-02', 'pve-03'])
    assert.equal(
      lines.filter((line) => line.startsWith('✗') && line.includes(`${node} (`)).length,
      1,
      lines.join('\n'),
    );
  assert.ok(!lines.some((line) => line.startsWith('~')), lines.join('\n'));
  for (const host of ['k3s-cp-01', 'k3s-cp-02', 'k3s-gpu-01'])
    assert.ok(
      lines.some((line) => line.includes(host)),
      `${host} is not named:\n${lines.join('\n')}`,
    );
});

test.run();
