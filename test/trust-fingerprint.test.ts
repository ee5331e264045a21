import { strict as assert } from 'node:assert';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import { isMap, isSeq, parseDocument } from 'yaml';
import { certificatesIn } from '../lib/certificate.ts';
import { LabCa } from '../lib/lab/ca.ts';
import { shownCertificate } from '../lib/ports/certificate.ts';
import { realExec } from '../lib/ports/exec.ts';
import { type ProvisionLab, startProvisionLab } from './provision-lab.ts';
import { gate } from './pve-fixture.ts';

/**
 * Proxmox nodes that are pinned by nothing but their fingerprints: the real Terraform, its real provider and Debian's
 * Packer, which know no fingerprints, trust exactly those certificates.
 */
const test = suite('fingerprints, for Terraform and Packer');
const exec = realExec();
const provider = join(homedir(), '.terraform.d/plugins/registry.terraform.io/bpg/proxmox/0.111.1');
const packer = await exec.run(['packer', 'version'], { deadline: 30 });
const missing = !exec.which('terraform')
  ? 'terraform is not on PATH'
  : !existsSync(provider)
    ? `the provider is not in ${provider}`
    : packer.code !== 0 || !/v1\.6\./.test(packer.stdout)
      ? 'packer 1.6, with its built-in Proxmox builder, is not on PATH'
      : undefined;
const withPrograms = gate(test, 'terraform', missing);

let lab: ProvisionLab;
test.before(async () => {
  if (missing !== undefined) return;
  lab = await startProvisionLab([]);
  // What a rehearsal makes Go programs trust must not help here.
  const other = await LabCa.create();
  for (const name of ['lab-ca.pem', 'pve-root-ca.pem'])
    writeFileSync(join(lab.workspace.folder, name), other.certificate);
});
test.after(async () => {
  if (missing !== undefined) return;
  const { problems } = lab.pve;
  await lab.close();
  assert.deepEqual(problems, []);
});

const shown = async (node: string) =>
  (await shownCertificate({ host: '127.0.0.1', port: lab.pve.portOf(node) }, 5)).fingerprint;

/** Writes what each node shows now into homelab.yaml, and takes the CA out. */
async function pin(): Promise<string[]> {
  const { configFile } = lab.workspace;
  const document = parseDocument(readFileSync(configFile, 'utf8'));
  document.deleteIn(['proxmox', 'ca_file']);
  const nodes = document.getIn(['proxmox', 'nodes']);
  assert.ok(isSeq(nodes));
  const all: string[] = [];
  for (const node of nodes.items) {
    assert.ok(isMap(node));
    all.push(await shown(String(node.get('name'))));
    node.set('fingerprint', all.at(-1));
  }
  writeFileSync(configFile, document.toString({ lineWidth: 0 }));
  return all;
}

const trusted = (): string[] =>
  certificatesIn(readFileSync(join(lab.state, 'trust/proxmox.pem'), 'utf8')).map(({ fingerprint }) => fingerprint);

async function succeeds(script: string): Promise<string[]> {
  const { code, stdout, stderr } = await lab.run(script, '--json');
  assert.equal(code, 0, stderr);
  return (JSON.parse(stdout) as { applied: { id: string }[] }).applied.map(({ id }) => id);
}

withPrograms('Packer builds a template, and writes no more than once whom it trusts', async () => {
  const pins = await pin();
  const applied = await succeeds('build-template');
  assert.ok(applied.includes('trust') && applied.includes('packer/build'), applied.join());
  assert.deepEqual(trusted(), pins);
  assert.deepEqual(await succeeds('build-template'), []);
});

withPrograms('Terraform makes the VMs, and finds nothing to do the second time', async () => {
  const applied = await succeeds('provision');
  assert.ok(applied.includes('terraform/apply') && !applied.includes('trust'), applied.join());
  assert.deepEqual(await succeeds('provision'), []);
});

withPrograms('a certificate that changed is named, until homelab.yaml says that it may', async () => {
  const before = lab.pve.snapshot();
  const old = await shown('pve-01');
  await lab.pve.renewCertificate('pve-01', 'same CA');
  const asked = lab.pve.requests.filter(({ node }) => node === 'pve-01').length;
  const refused = await lab.run('provision');
  assert.equal(refused.code, 1, refused.stderr);
  const now = await shown('pve-01');
  assert.match(refused.stderr.replaceAll(/\s+/g, ' '), new RegExp(`expected is ${old}, shown was ${now}`));
  assert.equal(lab.pve.requests.filter(({ node }) => node === 'pve-01').length, asked, 'it was sent nothing');
  const pins = await pin();
  assert.ok((await succeeds('provision')).includes('trust'));
  assert.deepEqual(trusted(), pins);
  assert.deepEqual(lab.pve.snapshot(), before);
});

test.run();
