import { strict as assert } from 'node:assert';
import { spawn } from 'node:child_process';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { type Case, declare } from './provision-fault-cases.ts';
import {
  FAST_CLOCK,
  type FaultLab,
  oneVm,
  says,
  startFaultLab,
  stateText,
  terraformMissing,
} from './provision-faults.ts';
import { gate } from './pve-fixture.ts';

/** What can go wrong in a VM, with Terraform's state, and between two runs. */
const stateFile = (lab: FaultLab): string => join(lab.state, 'terraform', 'terraform.tfstate');

async function made(lab: FaultLab): Promise<void> {
  const ran = await lab.provision();
  assert.equal(ran.code, 0, ran.text);
}

const CASES: Case[] = [
  {
    name: 'a guest agent that never answers is waited for ten minutes, and named',
    fault: (lab) => {
      lab.impatientProvider();
      lab.pve.faults.set('mute', { kind: 'mute', vmid: 200 });
    },
    preload: FAST_CLOCK,
    says: [
      /k3s-cp-01 \(VM 200\): its guest agent does not report 10\.20\.11\.80 after 590 s: QEMU guest agent is not running/,
      /probable cause: it does not boot, or qemu-guest-agent does not run in it/,
    ],
  },
  {
    name: 'an address by DHCP instead of the static one',
    fault: (lab) => lab.pve.faults.set('dhcp', { kind: 'dhcp', vmid: 200, address: '10.20.11.177' }),
    preload: FAST_CLOCK,
    says: [
      /k3s-cp-01 \(VM 200\): its guest agent reports 10\.20\.11\.177 instead of 10\.20\.11\.80/,
      /probable cause: cloud-init/,
      /build-template/,
    ],
    clear: ({ ports }) => ports.pve.call('POST', '/nodes/pve-02/qemu/200/status/reboot'),
  },
  {
    name: 'a state file that was lost: its VMs are imported',
    fault: async (lab) => {
      await made(lab);
      rmSync(stateFile(lab));
    },
    code: 0,
    says: [/import VM 200/, /4 of 4 proofs hold/],
    also: ({ pve }) => assert.equal(pve.snapshot().vms.filter(({ vmid }) => vmid === 200).length, 1),
  },
  {
    name: 'a state file that is cut off',
    fault: async (lab) => {
      await made(lab);
      writeFileSync(stateFile(lab), (stateText(lab) ?? '').slice(0, 900));
    },
    says: [
      /terraform\.tfstate/,
      /cannot be read|is not (?:whole|JSON)|damaged/,
      /terraform\.tfstate\.backup|move it away/,
    ],
    also: (lab) => assert.equal(readFileSync(stateFile(lab), 'utf8').length, 900),
    clear: (lab) => rmSync(stateFile(lab)),
    next: (_lab, ran) => says(ran, /import VM 200/),
  },
];

/** What a person does by hand in Terraform's folder: it holds the state as long as it is open. */
async function terraformConsole({ state, workspace }: FaultLab): Promise<() => Promise<void>> {
  const env = {
    ...{ PATH: process.env.PATH, HOME: process.env.HOME, TF_CLI_CONFIG_FILE: join(workspace.folder, 'terraform.rc') },
    ...{ SSL_CERT_FILE: join(workspace.folder, 'lab-ca.pem'), CHECKPOINT_DISABLE: '1' },
    PROXMOX_VE_API_TOKEN: `${workspace.config.proxmox.token_id}=${workspace.tokenSecret}`,
  };
  const cwd = join(state, 'terraform');
  const child = spawn('terraform', ['console'], { cwd, env, stdio: ['pipe', 'ignore', 'ignore'] });
  const ended = new Promise((done) => child.on('close', done));
  while (!existsSync(join(cwd, '.terraform.tfstate.lock.info'))) await new Promise((done) => setTimeout(done, 50));
  return async () => {
    child.stdin.end();
    await ended;
  };
}

const test = suite('provision with the real Terraform: guests, state, and two at once');
const withTerraform = gate(test, 'terraform', await terraformMissing());
let lab: FaultLab;
test.before(async () => {
  lab = await startFaultLab(oneVm);
});
test.after(() => lab.close());

declare(withTerraform, CASES, () => lab);

withTerraform('another Terraform that holds the state is named, and waited for', async () => {
  await lab.reset();
  await made(lab);
  const close = await terraformConsole(lab);
  const run = lab.start();
  await run.said(/waiting for the Terraform of \S+@\S+ \(OperationType\w+ since .*which holds .*terraform\.tfstate/);
  await close();
  const { code, text } = await run.ended;
  assert.equal(code, 0, text);
  await lab.converges();
});

withTerraform('of two runs at once the second ends with 75, and names the first', async () => {
  await lab.reset();
  lab.pve.faults.set('slow', { kind: 'slow-task', type: 'qmclone', ms: 2000 });
  const first = lab.start(['--verbose']);
  await first.said(/… terraform apply/);
  const second = await lab.provision();
  assert.equal(second.code, 75, second.text);
  says(second, new RegExp(`the lab is locked: provision of .* \\(process ${first.child.pid}\\)`));
  const { code, text } = await first.ended;
  assert.equal(code, 0, text);
  await lab.converges();
});

test.run();
