import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isMap, parseDocument } from 'yaml';
import { loadConfig, parseConfig } from '../lib/config/load.ts';
import { notifySchema } from '../lib/config/schema-backup.ts';
import { knownKeys, schemaText } from '../lib/config/schema-keys.ts';
import { UsageError } from '../lib/errors.ts';
import { allocateAll, openLedger } from '../lib/ledger/ledger.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { smallText } from './fixtures/lab.ts';

const HOMELAB = join(TOOLKIT, 'homelab.yaml');
const VALID = new URL('./fixtures/valid/', import.meta.url).pathname;
const test = suite('homelab.yaml that is right');

test('the sample is valid; its one warning is the arithmetic of two servers', () => {
  const { warnings } = loadConfig(HOMELAB);
  assert.is(warnings.length, 1);
  assert.match(warnings[0]!, /^.*homelab\.yaml:\d+:\d+: k3s\.nodes: 2 K3s servers: .*survives the loss of 0/);
});

test('its nodes get .80, .81 and .85', () => {
  const { config } = loadConfig(HOMELAB);
  const { given } = allocateAll(openLedger(config, []), config.k3s.nodes, '2026-11-23');
  assert.equal(
    given.map(({ address }) => address),
    ['10.20.11.80', '10.20.11.81', '10.20.11.85'],
  );
});

test('the sample is the reference: it shows every key, and comments on the optional ones', () => {
  const shown = keysOf(readFileSync(HOMELAB, 'utf8'));
  const missing = allKeys().filter((key) => !shown.has(key));
  // Shown in a comment only: they stand for ca_file, for the internet, for what only their owner knows, for namespace
  // and service, for exclude.
  const airgap = ['k3s.airgap', ...['binary', 'images', 'script'].map((key) => `k3s.airgap.${key}`)];
  const notify = ['notify', ...Object.keys(notifySchema.shape).map((key) => `notify.${key}`)];
  const second = ['export', 'folder', 'path', 'require_nfs', 'encrypt_to', 'max_age_hours'];
  const targets = ['target.encrypt_to', 'second_target', ...second.map((key) => `second_target.${key}`)];
  const servers = ['host', 'include', 'databases'].map((key) => `postgresql.${key}`);
  const backup = [...targets, 'cronjob.postgres_image', ...notify, ...servers].map((key) => `backup.${key}`);
  assert.equal(missing, ['proxmox.nodes.fingerprint', ...airgap, ...backup]);
});

test('every file of fixtures/valid is', () => {
  for (const name of readdirSync(VALID)) assert.equal(loadConfig(join(VALID, name)).warnings, [], name);
});

test('templates/homelab.schema.json is current, and homelab.yaml refers to it', () => {
  const file = 'templates/homelab.schema.json';
  assert.is(readFileSync(join(TOOLKIT, file), 'utf8'), schemaText(), 'stale; run: npm run schema');
  assert.ok(readFileSync(HOMELAB, 'utf8').startsWith(`# yaml-language-server: $schema=./${file}\n`));
});

test('an alias or two are fine', () => {
  const text = smallText()
    .replace('vmid: 210, cores: 8', 'vmid: 210, cores: &cores 8')
    .replace('vmid: 211, cores: 8', 'vmid: 211, cores: *cores');
  assert.is(parseConfig(text, 'f').config.k3s.nodes[2]?.cores, 8);
});

test('a warning is told and refuses nothing; the way out names the agent', () => {
  const text = smallText().replace('name: worker-01, role: agent', 'name: cp-02, role: server');
  const { warnings } = parseConfig(text, 'f');
  assert.is(warnings.length, 1);
  assert.match(warnings[0]!, /^f:45:5: k3s\.nodes: 2 K3s servers: .*; make gpu-01 a third, tainted server/);
});

test('slips get a suggestion, with the word that was meant', () => {
  const cases: [string, string, RegExp][] = [
    ['cert_manager: v1.21.2', 'cert_manager: "1.21"', /"1\.21" must be a full version.*; did you mean "1\.21\.0"\?/],
    ['user: ops', 'user: Ops', /"Ops" must be a Linux user name; did you mean "ops"\?/],
    ['vmid: 9000', 'vmid: "9000"', /must be a number, not "9000"; write it without quotes: 9000/],
    ['disk_gib: 20', 'disk_gib: 20.5', /must be a whole number, not 20\.5; write a whole number/],
    ['disk_gib: 20', 'disk_gib: 4', /4 is too small; write 8 or more/],
    ['vmid: 9000', 'vmid: 7', /7: Proxmox VMIDs start at 100; write 100 or more/],
    ['dns: [192.0.2.1]', 'dns: []', /network\.dns: must have at least 1 entry; add one/],
    ['dns: [192.0.2.1]', 'dns:', /network\.dns: is empty; write a list, or take the key out/],
    ['class: traefik', 'class: { name: traefik }', /ingress\.class: must be a text, not a mapping; write a text/],
    ['gpu: rtx4000ada', 'labels: { a.b/c: 1 }', /k3s\.nodes\[1\]\.labels\["a\.b\/c"\]: must be a text, not 1/],
    ['kind: linux', 'kind: [linux]', /nas\[0\]\.kind: a list is not one of linux, synology, unifi/],
    ['email: admin@example.org', 'email: admin', /"admin" is not an e-mail address/],
  ];
  for (const [from, to, said] of cases) {
    assert.ok(smallText().includes(from), from);
    try {
      parseConfig(smallText().replace(from, to), 'f');
    } catch (error) {
      assert.instance(error, UsageError);
      assert.match((error as UsageError).message, said);
      continue;
    }
    assert.unreachable(to);
  }
});

/** Keys as dotted paths without indices. */
function keysOf(text: string): Set<string> {
  const keys = new Set<string>();
  const walk = (node: unknown, path: string): void => {
    if (isMap(node)) {
      for (const { key, value } of node.items) {
        const name = path ? `${path}.${key}` : `${key}`;
        keys.add(name);
        walk(value, name);
      }
    } else if (node && typeof node === 'object' && 'items' in node && Array.isArray(node.items))
      for (const item of node.items) walk(item, path);
  };
  walk(parseDocument(text).contents, '');
  return keys;
}

/** The same of the schema. */
function allKeys(): string[] {
  const all: string[] = [];
  const walk = (path: (string | number)[], name: string): void => {
    for (const key of knownKeys(path)) {
      const full = name ? `${name}.${key}` : key;
      all.push(full);
      walk([...path, key], full);
      walk([...path, key, 0], full);
    }
  };
  walk([], '');
  return all;
}

test.run();
