import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { suite } from 'uvu';
import { TOOLKIT } from '../lib/paths.ts';
import { neededPrivileges } from '../lib/plan/privileges.ts';
import { leftoversOf } from '../lib/plan/template-placement.ts';
import { GENERATED_CD, generatedCds } from '../lib/plan/template-prune.ts';
import { realExec } from '../lib/ports/exec.ts';
import { atLeast } from '../lib/version.ts';
import { Installed, packerVariables } from './packer-guest.ts';
import { labOf, vm } from './provision-fixture.ts';
import { gate, SECRET, type TestLab, TOKEN, testLab } from './pve-fixture.ts';

/**
 * packer/ as it is, with a current Packer and HashiCorp's plugin, token and all. `packer init` is left out: the plugin
 * has to be there already, where PACKER_PLUGIN_PATH says.
 */
const exec = realExec();
const test = suite('a current Packer against the emulator');
const plugins = process.env.PACKER_PLUGIN_PATH ?? '';

async function missing(): Promise<string | undefined> {
  const { code, stdout } = await exec.run(['packer', 'version'], { deadline: 30 });
  const version = /v(\d+\.\d+\.\d+)/.exec(stdout)?.[1];
  if (code !== 0 || !version || !atLeast(version, [1, 10])) return 'Packer 1.10 or newer is not on PATH';
  const folder = join(plugins, 'github.com/hashicorp/proxmox');
  if (plugins === '' || !existsSync(folder) || readdirSync(folder).length === 0)
    return "PACKER_PLUGIN_PATH names no folder with HashiCorp's Proxmox plugin";
  return undefined;
}

const environment = (lab: TestLab) => ({
  ...{ SSL_CERT_FILE: lab.caFile, PACKER_CACHE_DIR: join(lab.folder, 'cache'), PACKER_CONFIG_DIR: lab.folder },
  ...{ PACKER_PLUGIN_PATH: plugins, PKR_VAR_token_secret: SECRET, TMPDIR: lab.folder },
});
const packer = (lab: TestLab, verb: string, file: string, ...options: string[]) =>
  exec.run(['packer', verb, ...options, `-var-file=${file}`, join(TOOLKIT, 'packer')], {
    ...{ deadline: 120, cwd: lab.folder, env: environment(lab) },
  });

/** Nothing is loaded here. */
const SHORT = { boot_wait: '10ms', boot_pause: '10ms', boot_key_interval: '1ms' };
/** What `check --role` says that the token needs, and no more. */
const token = {
  ...{ id: TOKEN, secret: SECRET },
  privileges: Object.fromEntries(neededPrivileges(labOf().config).map(({ path, privileges }) => [path, privileges])),
};
const gated = gate(test, 'packer-modern', await missing());

gated('packer/ is valid, and builds a template with a token', async () => {
  const machines = new Installed();
  const port = await machines.listen();
  const lab = await testLab({ machines, token, user: undefined });
  try {
    const file = packerVariables(lab, port, SHORT);
    const valid = await packer(lab, 'validate', file);
    assert.equal(valid.code, 0, valid.stdout + valid.stderr);
    const built = await packer(lab, 'build', file, '-color=false');
    assert.equal(built.code, 0, built.stdout + built.stderr);
    const { vms, volumes, locks } = lab.pve.snapshot();
    const [vm] = vms;
    assert.deepEqual([vms.length, vm?.vmid, vm?.status, vm?.config.template], [1, 9000, 'stopped', 1]);
    assert.deepEqual([vm?.config.name, vm?.config.description], ['ubuntu-24.04', 'built from abc']);
    assert.deepEqual([vm?.config.bios, vm?.config.machine, vm?.config.agent], ['ovmf', 'q35', '1']);
    assert.match(String(vm?.config.scsi0), /^local-zfs:base-9000-disk-\d,/);
    const drives = Object.values(vm?.config ?? {}).filter((value) => /\.iso/.test(String(value)));
    assert.deepEqual(drives, [], 'no ISO is left in it');
    assert.deepEqual(
      volumes.filter(({ content }) => content === 'iso').map(({ volid }) => volid),
      ['local:iso/ubuntu.iso'],
      'the CD with the answers is gone',
    );
    assert.deepEqual(locks, []);
    assert.ok(machines.commands.some((command) => command.includes('sudo -n sh')));
    assert.ok(machines.commands.some((command) => command.includes('scp') && command.includes('/tmp')));
    assert.deepEqual(lab.pve.problems, []);
  } finally {
    await lab.close();
    await machines.close();
  }
});

gated('a build whose guest never answers leaves nothing behind, and the next one builds', async () => {
  const machines = new Installed();
  const port = await machines.listen();
  const lab = await testLab({ machines, token, user: undefined });
  try {
    lab.pve.faults.set('mute', { kind: 'mute', vmid: 9000 });
    // Without ssh_host Packer waits for the address that the guest agent reports.
    const file = packerVariables(lab, port, { ...SHORT, ssh_host: '', ssh_timeout: '3s' });
    const failed = await packer(lab, 'build', file, '-color=false');
    assert.equal(failed.code, 1, failed.stdout);
    assert.match(failed.stdout, /Timeout waiting for SSH/);
    const { vms, volumes, locks } = lab.pve.snapshot();
    assert.deepEqual([vms, locks, volumes.map(({ volid }) => volid)], [[], [], ['local:iso/ubuntu.iso']]);

    lab.pve.faults.clear();
    const built = await packer(lab, 'build', packerVariables(lab, port, SHORT), '-color=false');
    assert.equal(built.code, 0, built.stdout + built.stderr);
    assert.equal(lab.pve.snapshot().vms[0]?.config.template, 1);
  } finally {
    await lab.close();
    await machines.close();
  }
});

gated('of a build that is killed, the VM and the CD in its drive are recognised', async () => {
  const machines = new Installed();
  const port = await machines.listen();
  const lab = await testLab({ machines, token, user: undefined });
  try {
    lab.pve.faults.set('mute', { kind: 'mute', vmid: 9000 });
    const file = packerVariables(lab, port, { ...SHORT, ssh_host: '' });
    const child = spawn('packer', ['build', '-color=false', `-var-file=${file}`, join(TOOLKIT, 'packer')], {
      ...{ cwd: lab.folder, detached: true, stdio: 'ignore' },
      env: { PATH: process.env.PATH, HOME: lab.folder, CHECKPOINT_DISABLE: '1', ...environment(lab) },
    });
    const ended = new Promise((resolve) => child.on('close', resolve));
    const running = (): boolean => lab.pve.snapshot().vms[0]?.status === 'running';
    for (const end = Date.now() + 60_000; !running() && Date.now() < end; ) await sleep(100);
    process.kill(-child.pid!, 'SIGKILL');
    await ended;
    const { vms, volumes } = lab.pve.snapshot();
    const seen = vms.map(({ vmid, node, config: own }) =>
      vm({ vmid, node, name: String(own.name), running: true, description: String(own.description), config: own }),
    );
    assert.deepEqual(
      leftoversOf(labOf().config, seen).map(({ vmid }) => vmid),
      [9000],
    );
    const cds = volumes.flatMap(({ volid }) => (GENERATED_CD.test(volid) ? volid : []));
    assert.equal(cds.length, 1);
    assert.deepEqual(seen.flatMap(generatedCds), cds);
  } finally {
    await lab.close();
    await machines.close();
  }
});

test.run();
