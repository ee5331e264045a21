import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { startTestLab, type TestLab } from './lab-harness.ts';

/** kubeconfig as a person runs it, in the embedded lab; one story from test to test. */
const test = suite('kubeconfig in the lab');
let lab: TestLab;
const mine = (): string => join(lab.folder, 'mine', 'config');

test.before(async () => {
  lab = await startTestLab({
    nodes: ['k3s-cp-01'],
    change: (text) => text.replace(/ {4}- \{ name: k3s-cp-02.*\n/, ''),
  });
});
test.after(() => lab.close());

test('a rehearsal does not touch a person’s own file', async () => {
  const { code, stderr } = await lab.script('kubeconfig', '--yes');
  assert.is(code, 2);
  assert.match(stderr, 'a rehearsal does not touch your kubeconfig');
  assert.not(existsSync(join(lab.folder, '..', '.kube')));
});

test('before install-k3s there is nothing to merge', async () => {
  const { code, stderr } = await lab.script('kubeconfig', '--into', mine(), '--yes');
  assert.is(code, 1);
  assert.match(stderr, '.state/homelab/kubeconfig is not there; run install-k3s first');
});

test('it is made, private, and by what is in it the API answers', async () => {
  // The agent of homelab.yaml does not run here: what the first server leaves is enough.
  await lab.script('install-k3s', '--limit', 'k3s-cp-01', '--yes');
  lab.edit(/ {4}- name: k3s-gpu-01\n(?: {6}.*\n)+/, '');
  const installed = await lab.script('install-k3s', '--yes');
  assert.is(installed.code, 0, installed.stderr);
  const { code, stderr, stdout } = await lab.script('kubeconfig', '--into', mine(), '--yes');
  assert.is(code, 0, stderr);
  assert.match(stderr, /✓ the API answers to its CA and certificate: .*https:\/\/10\.20\.11\.80:6443\/readyz: 200 ok/);
  assert.is(statSync(mine()).mode & 0o777, 0o600);
  const key = (parse(readFileSync(mine(), 'utf8')) as { users: { user: Record<string, string> }[] }).users[0]?.user[
    'client-key-data'
  ];
  assert.ok(key && !stdout.includes(key) && !stderr.includes(key));
});

test('run again nothing is written, and it is proven again', async () => {
  const before = statSync(mine()).mtimeMs;
  const { code, stderr } = await lab.script('kubeconfig', '--into', mine(), '--yes');
  assert.is(code, 0);
  assert.match(stderr, 'nothing to do; 2 of 2 proofs hold');
  assert.is(statSync(mine()).mtimeMs, before);
});

test('the plan shows no key; --check says that something is pending', async () => {
  const other = join(lab.folder, 'other');
  const { code, stdout } = await lab.script('kubeconfig', '--into', other, '--check', '--json');
  assert.is(code, 3);
  assert.not.match(stdout, 'client-key-data');
  assert.not(existsSync(other));
});

test('a link is followed, not replaced; a file that others can read is made private', async () => {
  const folder = join(lab.folder, 'dotfiles');
  mkdirSync(folder);
  writeFileSync(join(folder, 'kube'), '# mine\napiVersion: v1\nkind: Config\ncurrent-context: work\n');
  chmodSync(join(folder, 'kube'), 0o644);
  const link = join(lab.folder, 'link');
  symlinkSync('dotfiles/kube', link);
  const { code, stderr } = await lab.script('kubeconfig', '--into', link, '--yes');
  assert.is(code, 0, stderr);
  assert.ok(lstatSync(link).isSymbolicLink());
  assert.match(readFileSync(join(folder, 'kube'), 'utf8'), /^# mine\n[\s\S]*current-context: work\n/);
  assert.is(statSync(join(folder, 'kube')).mode & 0o777, 0o600);
  symlinkSync('dotfiles/new', join(lab.folder, 'dangling'));
  assert.is((await lab.script('kubeconfig', '--into', join(lab.folder, 'dangling'), '--yes')).code, 0);
  assert.ok(lstatSync(join(lab.folder, 'dangling')).isSymbolicLink() && existsSync(join(folder, 'new')));
});

test('a corrupt file is refused with the place, and not touched', async () => {
  const file = join(lab.folder, 'corrupt');
  writeFileSync(file, 'clusters:\n- name: [\n');
  const { code, stderr } = await lab.script('kubeconfig', '--into', file, '--yes');
  assert.is(code, 2);
  assert.match(stderr, /corrupt:\d+:\d+: it is no YAML/);
  assert.is(readFileSync(file, 'utf8'), 'clusters:\n- name: [\n');
});

test('a certificate that the API does not take is found', async () => {
  const file = join(lab.folder, '.state/homelab/kubeconfig');
  const before = readFileSync(file, 'utf8');
  const { users } = parse(before) as { users: { user: Record<string, string> }[] };
  const ca = (parse(before) as { clusters: { cluster: Record<string, string> }[] }).clusters[0]?.cluster[
    'certificate-authority-data'
  ];
  // The CA's certificate with the client's key: no pair.
  writeFileSync(file, before.replace(users[0]?.user['client-certificate-data'] ?? '', ca ?? ''));
  const { code, stderr } = await lab.script('kubeconfig', '--into', join(lab.folder, 'wrong'), '--yes');
  writeFileSync(file, before);
  assert.is(code, 1, stderr);
  assert.match(stderr, '✗ the API answers to its CA and certificate');
});

test('where the API port is not reachable, the proof is left out, and it says why', async () => {
  await lab.powerOff('k3s-cp-01');
  const { code, stderr } = await lab.script('kubeconfig', '--into', mine(), '--yes');
  assert.is(code, 0, stderr);
  assert.match(stderr, '– the API answers to its CA and certificate');
  assert.match(stderr, 'not tried: the API port is not reachable from here');
});

test.run();
