import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLab } from '../lib/lab-context.ts';
import { addressOf } from '../lib/lookup.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { placeTemplates } from '../lib/plan/template-placement.ts';
import { realExec } from '../lib/ports/exec.ts';
import { renderTfvars } from '../lib/render/tfvars.ts';
import { terraformMissing } from '../test/provision-faults.ts';
import { type ProvisionLab, startProvisionLab } from '../test/provision-lab.ts';
import { evenly } from './lab.ts';
import { best } from './measure.ts';

/** Seconds that things take in the emulator: a tenth or so of real hardware. Clones onto one node's storage take turns. */
const CLONE = 3;
const BOOT = 2;
const NODES = 3;
const LATENCY = { clone: CLONE * 1000, cloneQueue: 'storage', migrate: 2000, boot: BOOT * 1000 } as const;
const MINUTES = 60;

type Timed = { seconds: number; again?: number };

/**
 * scripts/provision.ts from nothing to proven VMs on three nodes, with the real Terraform and provider, beside
 * plain `terraform apply` at its default parallelism (10) on an equal emulator: the same HCL, the same variables,
 * `init` included in both. Plain Terraform's VMs have an agent that answers, and nobody has looked at them yet: no
 * host key is known, nothing has waited for cloud-init.
 *
 * The critical path is what no order of the work can avoid: the clones of the node that has most of them, one
 * after another, and around one of them everything that one VM needs (start of the script, init, plan, clone,
 * configuration, boot, host key, SSH, cloud-init, proofs), which is measured: a run for one VM, the better of two.
 * The lower bound beside it is latencies alone: those clones and one boot, as if all programs took no time. Nothing
 * migrates: every node has its template.
 */
export async function provision(counts: readonly number[], print: (line: string) => void): Promise<void> {
  const missing = await terraformMissing();
  if (missing) return print(`  skipped: ${missing}`);
  const runs = [await ours(1), await ours(1)];
  const one = best(runs.map(({ seconds }) => seconds));
  print(
    `  ${'1 VM'.padStart(6)}  provision ${text(one)} (of ${runs.map(({ seconds }) => text(seconds).trim()).join(', ')})`,
  );
  for (const count of counts) {
    const { seconds, again } = await ours(count);
    const plain = await terraformAlone(count);
    const onNode = Math.ceil(count / NODES);
    const critical = one + (onNode - 1) * CLONE;
    const bound = onNode * CLONE + BOOT;
    print(
      [
        `  ${`${count} VMs`.padStart(6)}  provision ${text(seconds)}`,
        `critical path ${text(critical)} (${ratio(seconds, critical)})`,
        `latencies alone ${text(bound)} (${ratio(seconds, bound)})`,
        `terraform apply ${text(plain.seconds)} (${ratio(plain.seconds, critical)})`,
        `again ${text(again)}`,
      ].join('   '),
    );
  }
}

/** From nothing, and once more. */
async function ours(count: number): Promise<Timed> {
  return withLab(count, async (lab) => {
    const argv = [
      process.execPath,
      '--import',
      'tsx',
      'scripts/provision.ts',
      '--yes',
      '--config',
      lab.workspace.configFile,
    ];
    const seconds = await timedRun(argv, TOOLKIT);
    return { seconds, again: await timedRun(argv, TOOLKIT) };
  });
}

async function terraformAlone(count: number): Promise<Timed> {
  return withLab(count, async ({ workspace, pve }) => {
    const { folder, configFile, config, publicKey, tokenSecret } = workspace;
    const work = join(folder, 'plain');
    mkdirSync(work);
    for (const file of readdirSync(join(TOOLKIT, 'terraform')))
      cpSync(join(TOOLKIT, 'terraform', file), join(work, file));
    const { lab } = openLab(configFile, {});
    const variables = renderTfvars(config, {
      endpoint: `https://127.0.0.1:${pve.portOf(config.proxmox.nodes[0]?.name ?? '')}/`,
      addresses: new Map(config.k3s.nodes.map(({ name }) => [name, addressOf(lab, name)])),
      publicKey,
      placement: placeTemplates(config, false),
    });
    writeFileSync(join(work, 'homelab.auto.tfvars.json'), variables);
    const env = {
      TF_CLI_CONFIG_FILE: join(folder, 'terraform.rc'),
      SSL_CERT_FILE: join(folder, 'lab-ca.pem'),
      PROXMOX_VE_API_TOKEN: `${config.proxmox.token_id}=${tokenSecret}`,
    };
    const init = await timedRun(['terraform', 'init', '-input=false'], work, env);
    return { seconds: init + (await timedRun(['terraform', 'apply', '-input=false', '-auto-approve'], work, env)) };
  });
}

/** A fresh emulator with its templates, and no VM. */
async function withLab<T>(count: number, work: (lab: ProvisionLab) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-bench-'));
  const configFile = join(folder, 'homelab.yaml');
  writeFileSync(configFile, evenly(count));
  const lab = await startProvisionLab(['packer'], { configFile, latency: LATENCY });
  try {
    await lab.putTemplates();
    return await work(lab);
  } finally {
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Seconds until it has ended. @throws Error when it failed */
async function timedRun(argv: string[], cwd: string, env: Record<string, string> = {}): Promise<number> {
  const began = performance.now();
  const { code, stdout, stderr } = await realExec().run(argv, { cwd, env, deadline: 15 * MINUTES });
  if (code !== 0) throw new Error(`${argv.join(' ')} ended with ${code}:\n${stdout}\n${stderr}`);
  return (performance.now() - began) / 1000;
}

function text(seconds: number | undefined): string {
  return seconds === undefined ? '' : `${seconds.toFixed(1)} s`.padStart(7);
}

function ratio(seconds: number, reference: number): string {
  return `${(seconds / reference).toFixed(2)} ×`;
}
