import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FACTS_SCRIPT, parseFacts } from '../lib/observe/k3s-facts.ts';

const test = suite('k3s facts');
const root = mkdtempSync(join(tmpdir(), 'k3s-facts-'));
const empty = mkdtempSync(join(tmpdir(), 'k3s-facts-'));
test.after(() => {
  rmSync(root, { recursive: true });
  rmSync(empty, { recursive: true });
});

/** The script as it is, with its absolute paths in a folder of ours; `systemctl` is a function. */
function factsOf(folder: string): ReturnType<typeof parseFacts> {
  const script = FACTS_SCRIPT.replaceAll(/(?<=[\s"=(])\/(?=(etc|usr|var)\/)/g, `${folder}/`);
  const systemctl = 'systemctl() { case $1 in is-active) echo active ;; *) echo enabled ;; esac; }\n';
  return parseFacts(execFileSync('/bin/sh', ['-s'], { input: systemctl + script, encoding: 'utf8' }));
}

function put(path: string, text: string, mode = 0o644): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  chmodSync(file, mode);
}

test('an empty machine', () => {
  const { clock, freeKib, ...facts } = factsOf(empty)!;
  assert.ok(Math.abs((clock ?? 0) - Date.now() / 1000) < 5);
  assert.is(freeKib, undefined, 'there is no /var/lib');
  const nothing = { hostname: undefined, version: undefined, config: undefined, tokenHash: undefined };
  assert.equal(facts, {
    ...{ ...nothing, startedWith: undefined, kubeconfigHash: undefined },
    ...{ units: {}, configPrivate: false, etcdData: false, joined: false },
  });
});

test('a server', () => {
  const token = 'f00d'.repeat(16);
  put('etc/hostname', 'k3s-cp-01\n');
  put('usr/local/bin/k3s', '#!/bin/sh\necho "k3s version v1.36.5+k3s1 (7502ce6a)"\necho "go version go1.26"\n', 0o755);
  put('etc/systemd/system/k3s.service', '[Unit]\n');
  put('etc/rancher/k3s/config.yaml', `# grüße\nnode-name: k3s-cp-01\ntoken: "${token}"\n`, 0o600);
  put('etc/rancher/k3s/k3s.yaml', 'kind: Config\n');
  put('var/lib/homelab/k3s-config.sha256', 'stamp\n');
  put('var/lib/rancher/k3s/server/db/etcd/name', 'x');
  put('var/lib/rancher/k3s/agent/x', 'x');
  const { clock: _clock, freeKib, ...facts } = factsOf(root)!;
  assert.ok((freeKib ?? 0) > 0);
  assert.equal(facts, {
    hostname: 'k3s-cp-01',
    version: 'v1.36.5+k3s1',
    units: { k3s: { state: 'active', enabled: true } },
    config: '# grüße\nnode-name: k3s-cp-01\n',
    configPrivate: true,
    tokenHash: createHash('sha256').update(token).digest('hex'),
    startedWith: 'stamp',
    etcdData: true,
    joined: true,
    kubeconfigHash: createHash('sha256').update('kind: Config\n').digest('hex'),
  });
});

test('the token itself does not leave the host', () => {
  const said = JSON.stringify(factsOf(root));
  assert.not.match(said, 'f00df00d');
});

test('output that was cut off is no facts', () => assert.is(parseFacts('hostname=x\nclock=1\n'), undefined));

test.run();
