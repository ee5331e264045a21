import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { main } from '../lib/main.ts';
import network from '../scripts/network.ts';
import { captured } from './fixtures/capture.ts';
import { smallText } from './fixtures/lab.ts';

const test = suite('scripts/network.ts');
const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
const config = join(folder, 'homelab.yaml');
const lock = join(folder, 'homelab.lock.yaml');
const doc = join(folder, 'docs', 'NETWORK.md');
test.before.each(() => writeFileSync(config, smallText()));
test.after(() => rmSync(folder, { recursive: true }));

function run(...argv: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  return captured(() => main(network, [...argv, '--config', config]));
}

test('allocate writes the leases and the document, once', async () => {
  assert.is((await run('allocate', '--check')).code, 3);
  assert.not(existsSync(lock));
  const first = await run('allocate');
  assert.is(first.code, 0, first.stderr);
  assert.match(readFileSync(lock, 'utf8'), '  - { name: gpu-01, address: 192.0.2.85, role: agent, since: ');
  assert.match(readFileSync(doc, 'utf8'), '| 192.0.2.85 | gpu-01 |');
  const before = readFileSync(lock, 'utf8');
  assert.match((await run('allocate')).stderr, 'allocate: nothing to do');
  assert.is((await run('allocate', '--check')).code, 0);
  assert.is(readFileSync(lock, 'utf8'), before);
});

test('doc --check: 3 when stale, 0 after doc', async () => {
  writeFileSync(doc, 'by hand');
  assert.is((await run('doc', '--check')).code, 3);
  assert.is((await run('doc')).code, 0);
  assert.is((await run('doc', '--check')).code, 0);
});

test('list for people and for programs', async () => {
  const people = await run('list');
  assert.is(people.code, 0);
  assert.match(people.stdout, /^ADDRESS +NAME +WHAT +WHY\n192\.0\.2\.1 +gateway +router, DNS server +fixed\n/);
  const { report } = JSON.parse((await run('list', '--json')).stdout);
  assert.equal([report.subnet, report.addresses.length, report.missing, report.problems], ['192.0.2.0/24', 8, [], []]);
});

test('release needs --force for what is used, and the name of the lab', async () => {
  const used = await run('release', 'worker-01', '--confirm', 'small');
  assert.is(used.code, 1);
  assert.match(used.stderr, 'blocker: worker-01 is a K3s node of homelab.yaml');
  assert.is((await run('release', 'worker-01', '--force')).code, 2);
  assert.match(readFileSync(lock, 'utf8'), 'worker-01');
  const released = await run('release', 'worker-01', '--force', '--confirm', 'small');
  assert.is(released.code, 0, released.stderr);
  assert.not.match(readFileSync(lock, 'utf8'), 'worker-01');
  assert.match((await run('release', 'worker-1')).stderr, 'there is no lease in homelab.lock.yaml "worker-1"');
});

test('a host that took the address of a lease: other commands refuse, release mends it', async () => {
  writeFileSync(config, smallText().replace('192.0.2.21', '192.0.2.120'));
  writeFileSync(lock, readFileSync(lock, 'utf8').replace('192.0.2.80', '192.0.2.120'));
  const refused = await run('allocate');
  assert.is(refused.code, 1);
  assert.match(refused.stderr, 'address 192.0.2.120 is used by both kvm-01 (host) and cp-01');
  const listed = await run('list');
  assert.equal([listed.code, listed.stderr.includes('warning: homelab.lock.yaml: lease of cp-01')], [0, true]);
  assert.is((await run('release', 'cp-01', '--force', '--confirm', 'small')).code, 0);
  assert.is((await run('allocate')).code, 0);
  assert.match(readFileSync(lock, 'utf8'), 'cp-01, address: 192.0.2.80');
});

test('a range that is full names the line of homelab.yaml', async () => {
  rmSync(lock);
  writeFileSync(config, smallText().replace('agent: 192.0.2.85-192.0.2.99', 'agent: 192.0.2.85-192.0.2.85'));
  const { code, stderr } = await run('allocate');
  assert.is(code, 1);
  assert.match(
    stderr,
    /homelab\.yaml:12:51: network\.ranges\.agent: no address is left for worker-01: 192\.0\.2\.85-192\.0\.2\.85 is full; widen/,
  );
});

test.run();
