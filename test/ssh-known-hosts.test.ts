import { createHmac } from 'node:crypto';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { makeSshKey } from '../lib/lab/ssh-key.ts';
import { fingerprint, forget, type HostKey, knownKeys, learn, parseHostKey } from '../lib/ports/known-hosts.ts';
import type { Login } from '../lib/ports/ssh-login.ts';
import { refusal, trusted } from '../lib/ports/ssh-trust.ts';

const test = suite('known hosts');
const folder = mkdtempSync(join(tmpdir(), 'known-hosts-'));
test.after(() => rmSync(folder, { recursive: true }));

const newKey = (): string => makeSshKey('test').public;
const hashed = (name: string): string => {
  const salt = Buffer.from('0123456789abcdefghij');
  return `|1|${salt.toString('base64')}|${createHmac('sha1', salt).update(name).digest('base64')}`;
};

for (const [line, name, found] of [
  ['10.20.11.80 ssh-ed25519 AAAA', '10.20.11.80', true],
  ['10.20.11.80 ssh-ed25519 AAAA', '10.20.11.8', false],
  ['k3s-cp-01,10.20.11.80 ssh-ed25519 AAAA comment here', '10.20.11.80', true],
  ['10.20.11.* ssh-ed25519 AAAA', '10.20.11.80', true],
  ['10.20.11.8? ssh-ed25519 AAAA', '10.20.11.80', true],
  ['10.20.11.*,!10.20.11.80 ssh-ed25519 AAAA', '10.20.11.80', false],
  ['*.home.arpa ssh-ed25519 AAAA', 'K3S-CP-01.home.arpa', true],
  ['10x20.11.80 ssh-ed25519 AAAA', '10.20.11.80', false],
  ['10.20.11.80 ssh-ed25519 AAAA', '10x20.11.80', false],
  [`${hashed('10.20.11.80')} ssh-ed25519 AAAA`, '10.20.11.80', true],
  [`${hashed('10.20.11.80')} ssh-ed25519 AAAA`, '10.20.11.81', false],
  ['|1|broken ssh-ed25519 AAAA', '10.20.11.80', false],
  ['# 10.20.11.80 ssh-ed25519 AAAA', '10.20.11.80', false],
  ['10.20.11.80 ssh-ed25519', '10.20.11.80', false],
  ['@cert-authority 10.20.11.80 ssh-ed25519 AAAA', '10.20.11.80', false],
  ['@revoked 10.20.11.80 ssh-ed25519 AAAA', '10.20.11.80', true],
] as const)
  test(`${line} ${found ? 'is for' : 'is not for'} ${name}`, () =>
    assert.is(knownKeys(`\n${line}\n`, [name], 'f').length, found ? 1 : 0));

test('a revoked key is marked', () =>
  assert.is(knownKeys('@revoked h ssh-ed25519 AAAA', ['h'], 'f')[0]?.revoked, true));

test("a fingerprint is ssh-keygen's", () => {
  const blob = 'AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl'; // GitHub's
  assert.is(fingerprint({ type: 'ssh-ed25519', blob }), 'SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU');
});

for (const text of [
  '',
  'ssh-ed25519',
  'ssh-ed25519 AAAA',
  'ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl',
])
  test(`${JSON.stringify(text.slice(0, 20))} is not a host key`, () =>
    assert.throws(() => parseHostKey(text), /not an SSH host key/));

test("learning rotates exactly one host's entry, at mode 0600", async () => {
  const file = join(folder, 'state', 'known_hosts');
  const [a, b, c] = [newKey(), newKey(), newKey()].map(parseHostKey);
  if (!a || !b || !c) throw new Error('no keys');
  assert.is(await learn(file, '10.20.11.80', 'k3s-cp-01', a), true);
  assert.is(await learn(file, '10.20.11.81', 'k3s-cp-02', b), true);
  assert.is(await learn(file, '10.20.11.81', 'k3s-cp-02', b), false, 'the same key again changes nothing');
  assert.is(await learn(file, '10.20.11.80', 'k3s-cp-01', c), true);
  const text = readFileSync(file, 'utf8');
  assert.equal(
    knownKeys(text, ['10.20.11.80'], file).map(({ blob }) => blob),
    [c.blob],
  );
  assert.equal(
    knownKeys(text, ['10.20.11.81'], file).map(({ blob }) => blob),
    [b.blob],
  );
  assert.is(statSync(file).mode & 0o777, 0o600);
});

test('forgetting a host takes out its line, and no other', async () => {
  const file = join(folder, 'forgotten');
  const [a, b] = [parseHostKey(newKey()), parseHostKey(newKey())];
  assert.is(await forget(file, '10.20.11.80'), false, 'there is no file yet');
  await learn(file, '10.20.11.8', 'other', b);
  const other = readFileSync(file, 'utf8');
  await learn(file, '10.20.11.80', 'k3s-cp-01', a);
  assert.is(await forget(file, '10.20.11.80'), true);
  assert.is(readFileSync(file, 'utf8'), other);
  assert.is(await forget(file, '10.20.11.80'), false);
});

test('hosts that are learned side by side are all known, also when one of them cannot be', async () => {
  const file = join(folder, 'side-by-side');
  const key = parseHostKey(newKey());
  const addresses = Array.from({ length: 20 }, (_, i) => `10.20.11.${80 + i}`);
  const learned = addresses.map((address, i) => learn(file, address, `k3s-${i}`, key));
  assert.equal(await Promise.all(learned), Array(20).fill(true));
  const text = readFileSync(file, 'utf8');
  assert.equal(
    addresses.map((address) => knownKeys(text, [address], file).length),
    Array(20).fill(1),
  );

  const blocked = join(folder, 'blocked');
  mkdirSync(blocked);
  const failed = learn(blocked, '10.20.11.80', 'k3s-cp-01', key).catch((error: Error) => error);
  assert.instance(await failed, Error, 'a folder is no file');
  rmSync(blocked, { recursive: true });
  assert.is(await learn(blocked, '10.20.11.80', 'k3s-cp-01', key), true);
});

test('a key at another port: [host]:port counts; those of the host alone may fit, and are no change', () => {
  const [key, other, stranger] = [newKey(), newKey(), newKey()].map(parseHostKey);
  if (!key || !other || !stranger) throw new Error('no keys');
  const file = join(folder, 'ports');
  const line = (name: string, { type, blob }: HostKey): string => `${name} ${type} ${blob}\n`;
  const login: Login = {
    ...{ id: 'b', name: 'b', address: '127.0.0.1', port: 2222, user: 'ops', keys: [], identitiesOnly: false },
    knownHosts: { files: [file], names: ['127.0.0.1'] },
  };
  const said = (shown: HostKey, at: Login = login): string =>
    refusal(at, shown, trusted(at, join(folder, 'none')))?.message ?? 'trusted';
  writeFileSync(file, line('127.0.0.1', other));
  assert.is(said(other), 'trusted');
  assert.match(said(stranger), /^b \(127\.0\.0\.1:2222\): its host key is not known/);
  assert.match(said(stranger, { ...login, port: 22 }), /host key has changed/);
  writeFileSync(file, line('127.0.0.1', other) + line('[127.0.0.1]:2222', key));
  assert.is(said(key), 'trusted');
  assert.match(said(other), /host key has changed/, 'it has one of its own');
});

test('lines that somebody added by hand stay', async () => {
  const file = join(folder, 'by-hand');
  const key = newKey();
  writeFileSync(file, `# mine\nother.example ${key}\n`);
  await learn(file, '10.20.11.80', 'k3s-cp-01', parseHostKey(newKey()));
  assert.ok(readFileSync(file, 'utf8').startsWith(`# mine\nother.example ${key}\n`));
});

test.run();
