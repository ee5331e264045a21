import { strict as assert } from 'node:assert';
import { join } from 'node:path';
import { suite } from 'uvu';
import type { Fault } from '../lib/lab/pve/index.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { renderNotes } from '../lib/plan/template-hash.ts';
import { placeTemplates } from '../lib/plan/template-placement.ts';
import { templateTrouble } from '../lib/plan/template-trouble.ts';
import { realExec } from '../lib/ports/exec.ts';
import { Installed, packerVariables } from './packer-guest.ts';
import { labOf, vm } from './provision-fixture.ts';
import { gate, PASSWORD, type TestLab, testLab } from './pve-fixture.ts';

const exec = realExec();
const { code, stdout } = await exec.run(['packer', 'version'], { deadline: 30 });
const missing =
  code === 0 && /v1\.6\./.test(stdout) ? undefined : 'packer 1.6, with its built-in Proxmox builder, is not on PATH';
const test = suite("Debian's Packer against the emulator");
const gated = gate(test, 'packer', missing);

const build = (lab: TestLab, file: string) =>
  exec.run(['packer', 'build', '-color=false', `-var-file=${file}`, join(TOOLKIT, 'lib/lab/packer-1.6')], {
    deadline: 120,
    cwd: lab.folder,
    env: {
      SSL_CERT_FILE: lab.caFile,
      CHECKPOINT_DISABLE: '1',
      PACKER_CACHE_DIR: join(lab.folder, 'cache'),
      PACKER_CONFIG_DIR: lab.folder,
      PKR_VAR_username: 'root@pam',
      PKR_VAR_password: PASSWORD,
    },
  });

/** A lab with a guest that answers once it is installed. */
async function withGuest(work: (lab: TestLab, machines: Installed, port: number) => Promise<void>): Promise<void> {
  const machines = new Installed();
  const port = await machines.listen();
  const lab = await testLab({ machines });
  try {
    await work(lab, machines, port);
    assert.deepEqual(lab.pve.problems, []);
  } finally {
    await lab.close();
    await machines.close();
  }
}

gated('builds a template', () =>
  withGuest(async (lab, machines, port) => {
    const outcome = await build(lab, packerVariables(lab, port));
    assert.equal(outcome.code, 0, outcome.stdout + outcome.stderr);
    const { vms, volumes, locks } = lab.pve.snapshot();
    assert.equal(vms.length, 1);
    const [vm] = vms;
    assert.deepEqual([vm?.vmid, vm?.status, vm?.config.template], [9000, 'stopped', 1]);
    assert.deepEqual([vm?.config.name, vm?.config.description], ['ubuntu-24.04', 'built from abc']);
    assert.match(String(vm?.config.scsi0), /^local-zfs:base-9000-disk-0,.*size=20G/);
    assert.match(String(vm?.config.ide2), /^none,media=cdrom/);
    assert.ok(volumes.find(({ volid }) => volid === 'local-zfs:base-9000-disk-0')?.installed);
    assert.deepEqual(locks, []);
    assert.ok(machines.commands.some((command) => command.startsWith('scp ')));
    assert.ok(machines.commands.some((command) => command.includes('sudo -n sh')));
    assert.equal(machines.booted[0]?.cloudInit, false);
    assert.deepEqual(machines.stopped, [9000]);
  }),
);

const failures: [string, Fault, Record<string, string>, RegExp, RegExp][] = [
  [
    'a VM that does not start',
    { kind: 'fail-task', type: 'qmstart', message: 'start failed: QEMU exited with code 1' },
    {},
    /Error starting VM: .*QEMU exited with code 1/,
    /^$/,
  ],
  [
    'a full storage',
    { kind: 'fill', storage: 'local-zfs', node: 'pve-01' },
    {},
    /out of space|No space left|available space/i,
    /a storage is full/,
  ],
  [
    'a guest whose agent never answers',
    { kind: 'mute', vmid: 9000 },
    { ssh_host: '', ssh_timeout: '3s' },
    /Timeout waiting for SSH/,
    /the installed system never answered/,
  ],
];
for (const [name, fault, change, said, cause] of failures)
  gated(`${name}: nothing is left of the build, and the next one builds`, () =>
    withGuest(async (lab, _machines, port) => {
      lab.pve.faults.set('fault', fault);
      const failed = await build(lab, packerVariables(lab, port, change));
      const output = failed.stdout + failed.stderr;
      assert.equal(failed.code, 1, output);
      assert.match(output, said);
      assert.match(templateTrouble(output)?.cause ?? '', cause);
      const { vms, volumes, locks } = lab.pve.snapshot();
      assert.deepEqual([vms, locks, volumes.map(({ volid }) => volid)], [[], [], ['local:iso/ubuntu.iso']], output);

      lab.pve.faults.clear();
      const again = await build(lab, packerVariables(lab, port));
      assert.equal(again.code, 0, again.stdout + again.stderr);
      assert.equal(lab.pve.snapshot().vms[0]?.config.template, 1);
    }),
  );

gated('what Proxmox does not convert, Packer calls a template: the next run finds it, and converts it', () =>
  withGuest(async (lab, _machines, port) => {
    const { config } = labOf();
    const stamp = { hash: 'a'.repeat(64), parts: {} };
    lab.pve.faults.set('fault', { kind: 'fail-task', type: 'qmtemplate', message: 'zfs error: dataset is busy' });
    const built = await build(lab, packerVariables(lab, port, { template_description: renderNotes(stamp) }));
    assert.equal(built.code, 0);
    const seen = lab.pve.snapshot().vms.map(({ vmid, node, status, config: { name, template, description } }) =>
      vm({
        vmid,
        node,
        name: String(name),
        template: template === 1,
        running: status === 'running',
        description: String(description),
      }),
    );
    assert.deepEqual(placeTemplates(config, false, seen, stamp).all[0], {
      ...{ node: 'pve-01', vmid: 9000, is: 'unconverted', old: undefined },
    });
  }),
);

test.run();
