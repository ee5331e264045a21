import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Certificate, readCertificate } from '../lib/certificate.ts';
import { LabCa } from '../lib/lab/ca.ts';
import type { Lab } from '../lib/lab-context.ts';
import { goTrust } from '../lib/lookup.ts';
import { readTrust } from '../lib/observe/trust.ts';
import { trustProblems, trustSteps } from '../lib/plan/trust.ts';
import { realEndpoints } from '../lib/ports/endpoints.ts';
import { fakePorts } from './fixtures/ports.ts';
import { labOf } from './provision-fixture.ts';

/** Which certificates Terraform and Packer are told to trust. */
const test = suite('whom Terraform and Packer trust');
const PATH = '/lab/.state/homelab/trust/proxmox.pem';
const CA = '-----BEGIN CERTIFICATE-----\nQ0E=\n-----END CERTIFICATE-----\n';
const ADDRESS: Record<string, string> = { 'pve-01': '10.20.11.11', 'pve-02': '10.20.11.12', 'pve-03': '10.20.11.13' };

const ca = await LabCa.create();
const shown: Record<string, Certificate> = {};
for (const [name, address] of Object.entries(ADDRESS))
  shown[address] = readCertificate((await ca.issue([name], [address])).cert);
const elsewhere = readCertificate((await ca.issue(['pve-01', 'localhost'], ['192.0.2.1'])).cert);
const of = (name: string): Certificate => shown[ADDRESS[name] ?? '']!;

/** homelab.yaml with these fingerprints; without ca_file where every node has one. */
function labWith(pins: Record<string, string>): Lab {
  return labOf({
    change: ({ proxmox }) => {
      for (const node of proxmox.nodes) node.fingerprint = pins[node.name];
      if (proxmox.nodes.every(({ fingerprint }) => fingerprint)) proxmox.ca_file = undefined;
    },
  });
}

async function trustOf(
  lab: Lab,
  { now, answers = shown }: { now?: string; answers?: Record<string, Certificate> } = {},
) {
  const asked: string[] = [];
  const ports = fakePorts({
    files: { text: async (path) => (path.endsWith('pve-root-ca.pem') ? CA : path === PATH ? now : undefined) },
    net: {
      certificate: async (address) => {
        asked.push(address);
        const value = answers[address];
        return value ? { ok: true, value } : { ok: false, reason: `${address}:8006: connect ECONNREFUSED` };
      },
    },
  });
  return { asked, trust: await readTrust(lab, ports, { endpoints: realEndpoints }, 'pve-01') };
}

const all = Object.fromEntries(Object.keys(ADDRESS).map((name) => [name, of(name).fingerprint]));
const pems = Object.keys(ADDRESS).map((name) => of(name).pem);

test('a CA needs no file of ours', async () => {
  const lab = labWith({});
  const { asked, trust } = await trustOf(lab);
  assert.equal(trust, undefined);
  assert.deepEqual(trustSteps(lab, trust), []);
  assert.deepEqual(asked, []);
  assert.deepEqual(goTrust(lab), { SSL_CERT_FILE: '/lab/pve-root-ca.pem', SSL_CERT_DIR: '/lab/.state/homelab/trust' });
});

test('fingerprints: exactly the certificates that have them', async () => {
  const lab = labWith(all);
  const { asked, trust } = await trustOf(lab);
  assert.equal(trust?.content, pems.join(''));
  assert.equal(trust?.problem, undefined);
  assert.deepEqual(asked.sort(), Object.values(ADDRESS));
  const [step] = trustSteps(lab, trust);
  assert.deepEqual(step?.action, { kind: 'write', path: PATH, content: pems.join('') });
  assert.equal(goTrust(lab).SSL_CERT_FILE, PATH);
});

test('what the file holds is not asked for again', async () => {
  const lower = Object.fromEntries(Object.entries(all).map(([name, pin]) => [name, pin.toLowerCase()]));
  const { asked, trust } = await trustOf(labWith(lower), { now: pems.join('') });
  assert.deepEqual(asked, []);
  assert.deepEqual(trustSteps(labWith(lower), trust), []);
});

test('a certificate that is no longer pinned goes, and what is no certificate too', async () => {
  const now = `hand-written\n${elsewhere.pem}${CA}${pems[0]}`;
  const { asked, trust } = await trustOf(labWith(all), { now });
  assert.equal(trust?.content, pems.join(''));
  assert.deepEqual(asked.sort(), [ADDRESS['pve-02'], ADDRESS['pve-03']]);
});

test('some nodes with a fingerprint, the others by the CA', async () => {
  const { trust } = await trustOf(labWith({ 'pve-02': all['pve-02']! }));
  assert.equal(trust?.content, `${CA}${pems[1]}`);
});

test('a fingerprint that another certificate has is not trusted', async () => {
  const wrong = 'AA:'.repeat(31).concat('AA');
  const { trust } = await trustOf(labWith({ ...all, 'pve-01': wrong }));
  assert.equal(trust?.content, pems.slice(1).join(''));
  const [note] = trustProblems(trust);
  assert.equal(note?.level, 'blocker');
  assert.match(note?.text ?? '', new RegExp(`recognise pve-01: .*${all['pve-01']}, homelab\\.yaml says ${wrong}$`));
});

test('a node that is away is left out, and a problem only when it is the one to dial', async () => {
  const { [ADDRESS['pve-03']!]: _away, ...answers } = shown;
  const { trust } = await trustOf(labWith(all), { answers });
  assert.equal(trust?.content, pems.slice(0, 2).join(''));
  assert.deepEqual(trustProblems(trust), []);
  const { trust: none } = await trustOf(labWith(all), { answers: {} });
  assert.match(trustProblems(none)[0]?.text ?? '', /recognise pve-01: 10\.20\.11\.11:8006: connect ECONNREFUSED$/);
});

test('a certificate that does not carry the address would be refused: it is said before', async () => {
  const { trust } = await trustOf(labWith({ ...all, 'pve-01': elsewhere.fingerprint }), {
    answers: { ...shown, [ADDRESS['pve-01']!]: elsewhere },
  });
  const [note] = trustProblems(trust);
  assert.match(
    note?.text ?? '',
    /^the certificate of pve-01 is for DNS:pve-01, DNS:localhost, IP Address:192\.0\.2\.1, and not for 10\.20\.11\.11:/,
  );
  assert.match(note?.fix ?? '', /pvecm updatecerts --force/);
});

test.run();
