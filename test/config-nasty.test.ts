import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parse, stringify } from 'yaml';
import type { Config } from '../lib/config/schema.ts';
import { UsageError } from '../lib/errors.ts';
import { type Lab, openLab } from '../lib/lab-context.ts';
import { parseLockFile, renderLockFile } from '../lib/ledger/lockfile.ts';
import { isoName } from '../lib/observe/template.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { placeTemplates } from '../lib/plan/template-placement.ts';
import { renderAutoinstall } from '../lib/render/autoinstall.ts';
import { clusterIssuers } from '../lib/render/cert-manager.ts';
import { crontabReport } from '../lib/render/crontab.ts';
import { exportsFile } from '../lib/render/exports.ts';
import { ingressYaml } from '../lib/render/ingress.ts';
import { k3sConfig, k3sConfigText } from '../lib/render/k3s-config.ts';
import { networkDoc } from '../lib/render/network-doc.ts';
import { renderPkrvars } from '../lib/render/pkrvars.ts';
import { renderTfvars } from '../lib/render/tfvars.ts';
import { smallText } from './fixtures/lab.ts';
import { nasty } from './nasty.ts';

/**
 * Whatever stands in a value of homelab.yaml, it is refused with its place, or every file that is made of it is
 * still YAML, JSON or a table, and holds just that value.
 */
const test = suite('nasty values in homelab.yaml');
const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
const file = join(folder, 'homelab.yaml');
test.after(() => rmSync(folder, { recursive: true }));

type Change = [name: string, set: (raw: Config, text: string) => void];
const NODE = 0;
const CHANGES: Change[] = [
  ['name', (raw, text) => (raw.name = text)],
  ['domain', (raw, text) => (raw.domain = text)],
  ['search_domain', (raw, text) => (raw.search_domain = `${text}.arpa`)],
  [
    'note',
    (raw, text) =>
      (raw.network.hosts = [{ name: 'kvm-01', address: raw.network.gateway.replace(/\d+$/, '21'), note: text }]),
  ],
  ['gateway', (raw, text) => (raw.network.gateway = text)],
  ['dns', (raw, text) => (raw.network.dns = [text])],
  ['token_id', (raw, text) => (raw.proxmox.token_id = `a${text}@pve!x`)],
  ['ca_file', (raw, text) => (raw.proxmox.ca_file = `x${text}`)],
  ['bridge', (raw, text) => (raw.proxmox.bridge = `v${text}`)],
  ['iso.url', (raw, text) => (raw.template.iso.url = `https://example.org/${text}.iso`)],
  ['user', (raw, text) => (raw.template.user = `o${text}`)],
  ['timezone', (raw, text) => (raw.template.timezone = `U${text}`)],
  ['ssh.key', (raw, text) => Object.assign(raw, { ssh: { key: `~/${text}` } })],
  ['export', (raw, text) => (raw.nas[0]!.exports[0]!.path = `/x${text}`)],
  ['mount', (raw, text) => (raw.nas[0]!.exports[0]!.mount = `/${text}`)],
  ['label', (raw, text) => (raw.k3s.nodes[NODE]!.labels = { [`a${text}`]: 'b' })],
  ['label value', (raw, text) => (raw.k3s.nodes[NODE]!.labels = { a: text })],
  ['taint', (raw, text) => (raw.k3s.nodes[NODE]!.taints = [`a${text}=b:NoSchedule`])],
  ['node', (raw, text) => (raw.k3s.nodes[NODE]!.name = `n${text}`)],
  ['pattern', (raw, text) => (raw.storage_classes.at(-1)!.path = `{namespace}-{pvc-name}${text}`)],
  ['email', (raw, text) => (raw.ingress.email = `a${text}@example.org`)],
  ['middleware', (raw, text) => (raw.ingress.middleware = `a-b${text}@kubernetescrd`)],
  ['schedule', (raw, text) => Object.assign(raw.backup!, { schedule: `0 3 * * ${text}` })],
  ['target', (raw, text) => Object.assign(raw.backup!.target, { path: `p${text}` })],
  ['exclude', (raw, text) => Object.assign(raw.backup!.postgresql[0]!, { exclude: [`x${text}`] })],
];

function open(name: string, set: Change[1], text: string): Lab | UsageError {
  const raw = parse(smallText()) as Config;
  set(raw, text);
  writeFileSync(file, stringify(raw));
  try {
    return openLab(file, {}).lab;
  } catch (error) {
    // Anything but a UsageError is a defect.
    if (error instanceof UsageError) return error;
    throw new Error(`${name}: ${JSON.stringify(text)}: ${String(error)}`);
  }
}

const plain = open('note', (raw) => raw, '');
if (plain instanceof UsageError) throw plain;
const hosts = plain.config.network.hosts.length;
const lines = networkDoc(plain.config, plain.ledger).split('\n').length;

function holds(lab: Lab): void {
  const { config, ledger } = lab;
  for (const node of config.k3s.nodes) {
    const wanted = k3sConfig(lab, node, 'init');
    const text = `${k3sConfigText(wanted)}token: "t"\n`;
    assert.equal(parse(text), { ...wanted, token: 't' });
    assert.is(text.split('\n').at(-2), 'token: "t"');
  }
  const publicKey = 'ssh-ed25519 AAAA x';
  const addresses = new Map(ledger.leases.map(({ name, address }) => [name, address]));
  const tfvars = JSON.parse(
    renderTfvars(config, { endpoint: 'https://x/', addresses, publicKey, placement: placeTemplates(config, false) }),
  ) as { nodes: Record<string, unknown> };
  assert.equal(
    Object.keys(tfvars.nodes),
    config.k3s.nodes.map(({ name }) => name),
  );
  const generated = {
    endpoint: 'https://x/',
    vmid: 1,
    description: '',
    buildName: 'b',
    storageType: 'dir',
    userDataFile: '/u',
    growRootFile: '/g',
  };
  const isoFile = isoName(config.template.iso);
  assert.match(isoFile, /^[-\w.]+\.(iso|img)$/i);
  const pkrvars = JSON.parse(renderPkrvars(config, { ...generated, isoFile, privateKeyFile: '/k' })) as object;
  assert.is((pkrvars as Record<string, unknown>).ssh_user, config.template.user);

  const { timezone, user } = config.template;
  const template = readFileSync(join(TOOLKIT, 'templates/autoinstall/user-data.yaml'), 'utf8');
  const answers = parse(renderAutoinstall(template, { hostname: 'x', timezone, user, publicKey })) as {
    autoinstall: { timezone: string };
  };
  assert.is(answers.autoinstall.timezone, timezone);

  const allowed = config.nas.flatMap((nas) => nas.exports.map((one) => ({ export: one, addresses: ['10.0.0.1'] })));
  const exported = exportsFile(allowed).split('\n');
  assert.is(exported.length, allowed.length + 2);
  for (const line of exported.slice(1, -1)) assert.match(line, /^\/\S* 10\.0\.0\.1\([a-z_,]+\)$/);

  assert.is(networkDoc(config, ledger).split('\n').length - config.network.hosts.length, lines - hosts);
  const call = { name: 'x', namespace: 'x', host: `x.${config.domain}`, service: 'x', port: 80 };
  assert.is((parse(ingressYaml(call, config.ingress)) as { kind: string }).kind, 'Ingress');
  assert.equal(JSON.parse(JSON.stringify(clusterIssuers(config))), clusterIssuers(config));
  const machine = { folder: '/t', node: '/node', configFile: '/c', runs: '/r' };
  assert.is(
    crontabReport(config.backup!, machine)
      .text.split('\n')
      .filter((line) => !line.startsWith('#')).length,
    2,
  );
}
for (const [name, set] of CHANGES)
  test(`${name}: refused, or the same value everywhere`, () => {
    fc.assert(
      fc.property(nasty, (text) => {
        const lab = open(name, set, text);
        if (lab instanceof UsageError) assert.match(lab.message, /homelab\.yaml:\d+:\d+: /);
        else holds(lab);
      }),
      { numRuns: 12 },
    );
  });

test('a lock file that somebody edited is written back as it was read', () => {
  fc.assert(
    fc.property(nasty, nasty, nasty, (name, address, since) => {
      const lock = {
        version: 1 as const,
        lab: 'small',
        leases: [{ name, address, role: 'agent' as const, since }],
        downloads: {},
      };
      assert.equal(parseLockFile(renderLockFile(lock), 'homelab.lock.yaml', 'small'), lock);
    }),
  );
});

test.run();
