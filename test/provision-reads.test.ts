import { strict as assert } from 'node:assert';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import { evenly } from '../bench/lab.ts';
import type { LabPve } from '../lib/lab/pve/index.ts';
import { realExec } from '../lib/ports/exec.ts';
import { terraformMissing } from './provision-faults.ts';
import { type ProvisionLab, type ProvisionLabOptions, startProvisionLab } from './provision-lab.ts';
import { gate } from './pve-fixture.ts';

/** What provision asks of Proxmox and of the VMs where nothing is to be done, with the real Terraform and provider. */
const test = suite('reads of provision');
const withTerraform = gate(test, 'terraform', await terraformMissing());

const COUNT = 4;
const VMIDS = Array.from({ length: COUNT }, (_, i) => 200 + i);
const NODES = ['pve-01', 'pve-02', 'pve-03'];
type Requests = LabPve['requests'];

withTerraform('a converged run writes nothing, and reads once a VM beside the provider', async () => {
  await withVms({}, async (lab) => {
    const guests = [...lab.machines.running.values()];
    const before = guests.map(({ logins, commands }) => ({ logins, commands: commands.length }));
    const requests = await during(lab, () => provision(lab));
    assert.deepEqual(
      requests.filter(({ method }) => method !== 'GET'),
      [],
    );
    const expected = [
      ...['/access/permissions', '/cluster/resources', '/nodes'],
      ...NODES.map((node) => `/nodes/${node}/storage`),
      // The templates' notes say of what they were made.
      ...NODES.map((node, i) => `/nodes/${node}/qemu/${9000 + i}/config`),
      ...VMIDS.map((vmid, i) => `/nodes/${NODES[i % 3]}/qemu/${vmid}/agent/network-get-interfaces`),
    ];
    assert.deepEqual(paths(requests, false), expected.sort());
    const after = guests.map(({ logins, commands }) => ({ logins, commands: commands.length }));
    const once = before.map(({ logins, commands }) => ({ logins: logins + 1, commands: commands + 1 }));
    assert.deepEqual(after, once);

    const plain = await during(lab, () => terraformPlan(lab));
    assert.deepEqual(paths(requests, true), paths(plain, true), 'the provider refreshes once');
  });
});

withTerraform('a VM that the cluster does not list whole yet is read twice, and left alone', async () => {
  await withVms({ latency: { broadcast: 600_000 } }, async (lab) => {
    const requests = await during(lab, () => provision(lab));
    assert.deepEqual(
      requests.filter(({ method }) => method !== 'GET'),
      [],
    );
    const ofVms = paths(requests, false).filter((path) => /\/qemu\/2\d\d\//.test(path));
    const expected = ['agent/network-get-interfaces', 'config'].flatMap((what) =>
      VMIDS.map((vmid, i) => `/nodes/${NODES[i % 3]}/qemu/${vmid}/${what}`),
    );
    assert.deepEqual(ofVms, expected.sort());
  });
});

/** A lab with four VMs, made by one run. */
async function withVms(
  options: Omit<ProvisionLabOptions, 'configFile'>,
  work: (lab: ProvisionLab) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-reads-'));
  const configFile = join(folder, 'homelab.yaml');
  writeFileSync(configFile, evenly(COUNT));
  const lab = await startProvisionLab(['packer'], { ...options, configFile });
  try {
    await lab.putTemplates();
    assert.ok((await provision(lab)).includes('terraform/apply'));
    assert.equal(lab.machines.running.size, COUNT);
    await work(lab);
    assert.deepEqual(await provision(lab), []);
  } finally {
    await lab.close();
    rmSync(folder, { recursive: true, force: true });
  }
}

/** @returns the steps that were applied; all proofs hold */
async function provision(lab: ProvisionLab): Promise<string[]> {
  const { code, stdout, stderr } = await lab.run('provision', '--json');
  assert.equal(code, 0, stderr);
  const { applied, proofs } = JSON.parse(stdout) as { applied: { id: string }[]; proofs: { ok: boolean }[] };
  assert.equal(proofs.filter(({ ok }) => ok).length, 4 * COUNT);
  return applied.map(({ id }) => id);
}

/** Terraform's own refresh, as a person would run it in that folder. */
async function terraformPlan({ state, workspace }: ProvisionLab): Promise<void> {
  const { folder, config, tokenSecret } = workspace;
  const argv = ['terraform', 'plan', '-input=false', '-no-color', '-detailed-exitcode'];
  const env = {
    TF_CLI_CONFIG_FILE: join(folder, 'terraform.rc'),
    SSL_CERT_FILE: join(folder, 'lab-ca.pem'),
    PROXMOX_VE_API_TOKEN: `${config.proxmox.token_id}=${tokenSecret}`,
  };
  const { code, stdout, stderr } = await realExec().run(argv, { cwd: join(state, 'terraform'), deadline: 120, env });
  assert.equal(code, 0, stdout + stderr);
}

async function during({ pve }: ProvisionLab, work: () => Promise<unknown>): Promise<Requests> {
  const before = pve.requests.length;
  await work();
  return pve.requests.slice(before);
}

/** What was asked for, by the provider (a Go program) or by us. */
function paths(requests: Requests, provider: boolean): string[] {
  return requests
    .filter(({ client = '' }) => client.startsWith('Go-') === provider)
    .map(({ path }) => path)
    .sort();
}

test.run();
