import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Lab } from '../lib/lab-context.ts';
import { planK3s } from '../lib/plan/k3s.ts';
import { airgapFiles, localFiles, lockKey } from '../lib/plan/k3s-airgap.ts';
import type { SeenK3s } from '../lib/plan/k3s-seen.ts';
import { NOTE, PLACE } from '../lib/render/k3s-files.ts';
import type { Plan, Step } from '../lib/step.ts';
import { labWith, seenConverged, seenFresh, withFacts } from './k3s-fixtures.ts';

/** Nodes without the internet: files of this machine take the place of downloads. */
const test = suite('k3s without the internet');
const folder = mkdtempSync(join(tmpdir(), 'k3s-airgap-'));
test.after(() => rmSync(folder, { recursive: true }));

const IMAGES = '/var/lib/rancher/k3s/agent/images/images.tar.zst';
const offline = (script?: string): Lab => {
  const lab = labWith((config) => {
    config.k3s.airgap = { binary: 'files/k3s', images: 'files/images.tar.zst', ...(script ? { script } : {}) };
  });
  return { ...lab, paths: { ...lab.paths, root: '/lab' } };
};
const local = (seen: SeenK3s): SeenK3s => ({
  ...seen,
  airgap: { '/lab/files/k3s': 'aa', '/lab/files/images.tar.zst': 'bb', '/lab/files/install.sh': 'cc' },
});
const pinned = (lab: Lab): Lab => ({
  ...lab,
  lock: { ...lab.lock, downloads: { [lockKey(lab, 'binary')]: 'aa', [lockKey(lab, 'images')]: 'bb' } },
});
/** Every node has both files, with their hashes noted or not. */
const withFiles = (seen: SeenK3s, noted: boolean, binary = 'aa'): SeenK3s =>
  Object.keys(seen.hosts).reduce(
    (one, name) =>
      withFacts(one, name, {
        files: { '/usr/local/bin/k3s': { sha256: binary, noted }, [IMAGES]: { sha256: 'bb', noted } },
      }),
    seen,
  );
const ids = (plan: Plan): string[] => plan.steps.map(({ id }) => id);
const step = (plan: Plan, id: string): Step => plan.steps.find((s) => s.id === id)!;
const blockers = (plan: Plan): string[] => plan.notes.filter((n) => n.level === 'blocker').map((n) => n.text);

test('paths are relative to homelab.yaml', () => {
  const lab = offline('/opt/install.sh');
  assert.equal(
    localFiles(lab).map(({ path }) => path),
    ['/lab/files/k3s', '/lab/files/images.tar.zst', '/opt/install.sh'],
  );
  assert.equal(
    airgapFiles(lab).map(({ remote }) => remote),
    ['/usr/local/bin/k3s', IMAGES],
  );
});

test('from nothing: pushed, checked, put into place, installed without a download, noted', () => {
  const lab = offline('files/install.sh');
  const plan = planK3s(lab, local(seenFresh(lab)));
  assert.ok(ids(plan).includes('pin-files'));
  assert.not(ids(plan).includes('install-script'), 'nothing is fetched');
  const parts = [
    'config',
    'script',
    'binary',
    'place',
    'images',
    'install',
    'note',
    'enable',
    'start',
    'stamp',
    'ready',
  ];
  assert.equal(
    ids(plan).filter((id) => id.startsWith('k3s-gpu-01/')),
    parts.map((part) => `k3s-gpu-01/${part}`),
  );
  const { action: binary } = step(plan, 'k3s-gpu-01/binary');
  assert.equal(binary.kind === 'upload' && [binary.path, binary.content, binary.mode], [
    ...['/usr/local/bin/k3s.new', { file: '/lab/files/k3s', sha256: 'aa' }, '0755'],
  ]);
  const { action: install, after } = step(plan, 'k3s-gpu-01/install');
  assert.ok(install.kind === 'remote' && install.argv.includes('INSTALL_K3S_SKIP_DOWNLOAD=true'));
  assert.ok(after?.includes('k3s-gpu-01/place'));
  const { action: script } = step(plan, 'k3s-gpu-01/script');
  assert.equal(script.kind === 'upload' && script.content, { file: '/lab/files/install.sh' });
});

test('everything there, and noted: nothing', () => {
  const lab = pinned(offline());
  assert.equal(ids(planK3s(lab, withFiles(local(seenConverged(lab)), true))), []);
});

test('the same files, which came otherwise: they are noted, and nothing is pushed or restarted', () => {
  const lab = pinned(offline());
  const plan = planK3s(lab, withFiles(local(seenConverged(lab)), false));
  assert.equal(ids(plan), ['k3s-cp-01/note', 'k3s-cp-02/note', 'k3s-gpu-01/note']);
});

test('another binary of the same version is pushed, and its node restarted', () => {
  const lab = pinned(offline());
  const seen = withFacts(withFiles(local(seenConverged(lab)), true), 'k3s-gpu-01', {
    files: { '/usr/local/bin/k3s': { sha256: 'old', noted: true }, [IMAGES]: { sha256: 'bb', noted: true } },
  });
  const parts = ['script', 'binary', 'place', 'install', 'note', 'stop', 'start', 'stamp', 'ready'];
  assert.equal(
    ids(planK3s(lab, seen)).filter((id) => id.includes('/')),
    parts.map((part) => `k3s-gpu-01/${part}`),
  );
});

test('refused: a file that is not there, and one that is another than was recorded for this version', () => {
  const lab = pinned(offline());
  const seen = withFiles(local(seenConverged(lab)), true);
  assert.match(
    blockers(planK3s(lab, { ...seen, airgap: { ...seen.airgap, '/lab/files/k3s': undefined } }))[0] ?? '',
    /^files\/k3s is not there \(k3s.airgap.binary\)$/,
  );
  assert.match(
    blockers(planK3s(lab, { ...seen, airgap: { ...seen.airgap, '/lab/files/k3s': 'dd' } }))[0] ?? '',
    /^files\/k3s has the SHA-256 dd; for v1.36.5\+k3s1 homelab.lock.yaml has aa$/,
  );
});

const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const fake = (version: string): string => `#!/bin/sh\necho "k3s version ${version} (abc)"\necho "go version go1"\n`;
const places: [what: string, text: string, hash: string | undefined, words: RegExp | undefined][] = [
  ['the right one', fake('v1.36.5+k3s1'), undefined, undefined],
  ['one of another version', fake('v1.36.4+k3s1'), undefined, /it is v1.36.4\+k3s1, and k3s.version says v1.36.5/],
  ['one that arrived broken', fake('v1.36.5+k3s1'), 'f'.repeat(64), /it arrived with the SHA-256/],
  ['one for another machine', '\u007fELF', undefined, /it does not run on this machine/],
];
for (const [what, text, hash, words] of places)
  test(`a pushed binary: ${what}`, () => {
    const [fresh, place] = [join(folder, 'k3s.new'), join(folder, 'k3s')];
    writeFileSync(place, 'the old one');
    writeFileSync(fresh, text, { mode: 0o755 });
    const argv = ['-c', PLACE, 'sh', fresh, place, hash ?? sha256(text), 'v1.36.5+k3s1'];
    const { status, stderr } = spawnSync('/bin/sh', argv, { encoding: 'utf8' });
    assert.is(status, words ? 1 : 0, stderr);
    if (words) assert.match(stderr, words);
    assert.is(readFileSync(place, 'utf8'), words ? 'the old one' : text);
    assert.not(existsSync(fresh));
  });

test('hashes are noted of what has them, and of nothing else', () => {
  const [file, list] = [join(folder, 'images'), join(folder, 'own', 'files')];
  writeFileSync(file, 'images');
  execFileSync('/bin/sh', ['-c', NOTE, 'sh', list, file, sha256('images')]);
  assert.match(readFileSync(list, 'utf8'), new RegExp(`^${sha256('images')} 6 \\d+ ${file}\\n$`));
  const { status, stderr } = spawnSync('/bin/sh', ['-c', NOTE, 'sh', list, file, 'beef'], { encoding: 'utf8' });
  assert.is(status, 1);
  assert.match(stderr, /arrived with the SHA-256/);
});

test.run();
