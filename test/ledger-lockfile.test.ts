import * as fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parse } from 'yaml';
import { UsageError } from '../lib/errors.ts';
import { emptyLockFile, type LockFile, LockStore, parseLockFile, renderLockFile } from '../lib/ledger/lockfile.ts';

const test = suite('homelab.lock.yaml');
const HASH = 'c3514bf0056180d09376462a7a1b4f213c1d6e8ea67fae5c25099c6fd3d8274b';
const lock: LockFile = {
  version: 1,
  lab: 'small',
  leases: [
    { name: 'cp-01', address: '192.0.2.80', role: 'server', since: '2026-11-23' },
    { name: 'gpu-01', address: 'fd00:10::', role: 'agent', since: '2026-11-24' },
  ],
  downloads: { 'https://b.example/x': HASH, 'https://a.example/x': HASH },
};

test('a lease a line, downloads in order', () => {
  assert.is(
    renderLockFile(lock),
    [
      '# Written by the scripts; commit it. Leases of addresses, and hashes of downloads.',
      '# Give an address back with: npx tsx scripts/network.ts release NAME',
      'version: 1',
      'lab: small',
      'leases:',
      '  - { name: cp-01, address: 192.0.2.80, role: server, since: 2026-11-23 }',
      '  - { name: gpu-01, address: "fd00:10::", role: agent, since: 2026-11-24 }',
      'downloads:',
      `  https://a.example/x: ${HASH}`,
      `  https://b.example/x: ${HASH}`,
      '',
    ].join('\n'),
  );
  assert.equal(read(renderLockFile(lock)), lock);
  assert.equal(read(renderLockFile(emptyLockFile('small'))), emptyLockFile('small'));
});

test('what was written is read again, by us and by any YAML parser', () => {
  const name = fc.oneof(
    fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/),
    fc.constantFrom('null', 'true', 'no', '1e5', '0x1'),
  );
  const address = fc.oneof(
    fc.ipV4(),
    fc.ipV6().map((text) => text.toLowerCase()),
  );
  const lease = fc.record(
    {
      name,
      address,
      role: fc.constantFrom('server' as const, 'agent' as const),
      since: fc.constantFrom('2026-11-23', '1999-01-01'),
    },
    { noNullPrototype: true },
  );
  const hash = fc.stringMatching(/^[0-9a-f]{64}$/);
  const locks = fc.record(
    {
      version: fc.constant(1 as const),
      lab: fc.constant('small'),
      leases: fc.array(lease, { maxLength: 6 }),
      downloads: fc.dictionary(fc.webUrl(), hash, { maxKeys: 3, noNullPrototype: true }),
    },
    { noNullPrototype: true },
  );
  fc.assert(
    fc.property(locks, (one) => {
      const text = renderLockFile(one);
      assert.equal(read(text), one);
      assert.equal(parse(text), one);
    }),
    { numRuns: 200 },
  );
});

test('a file that somebody edited is read too', () => {
  const edited = [
    renderLockFile(lock).replace('since: 2026-11-23 }', 'since: 2026-11-23 } # the first'),
    renderLockFile(lock).replaceAll('\n', '\r\n'),
    renderLockFile(lock).replace('downloads:', '  # the last one\ndownloads:'),
    renderLockFile(lock).replace(
      '  - { name: gpu-01, address: "fd00:10::", role: agent, since: 2026-11-24 }',
      '  - name: gpu-01\n    address: "fd00:10::"\n    role: agent\n    since: 2026-11-24',
    ),
    JSON.stringify(lock),
  ];
  for (const text of edited) assert.equal(read(text), lock, text);
});

test('what is no lock file is refused', () => {
  const good = renderLockFile(lock);
  const cases: [string, RegExp][] = [
    ['', /^f: : Invalid input/],
    ['leases: [', /^f: Flow sequence/],
    [good.replace('version: 1', 'version: 2'), /^f: version: Invalid input: expected 1/],
    [good.replace('role: server', 'role: king'), /^f: leases\.0\.role: /],
    [good.replace('lab: small', 'lab: large'), /^f is of the lab "large", homelab\.yaml of "small"$/],
    [good.replace(HASH, 'abc'), /^f: downloads\./],
    [good.replace('downloads:', 'leases: []\ndownloads:'), /^f: Map keys must be unique/],
    [`${good}secrets: {}\n`, /^f: : Unrecognized key/],
  ];
  for (const [text, said] of cases) {
    try {
      read(text);
    } catch (error) {
      assert.instance(error, UsageError);
      assert.match((error as UsageError).message, said);
      continue;
    }
    assert.unreachable(text);
  }
});

test('changes side by side are written one after another; one that fails is not that of the next', async () => {
  const written: string[] = [];
  let full = true;
  const store = new LockStore(emptyLockFile('small'), 'f', {
    write: async (_, content) => {
      await new Promise((done) => setTimeout(done, 5));
      if (full) {
        full = false;
        throw new Error('no space left on device');
      }
      written.push(String(content));
    },
  });
  const results = await Promise.allSettled(['a', 'b', 'c'].map((name) => store.record(`https://${name}/`, HASH)));
  assert.equal(
    results.map(({ status }) => status),
    ['rejected', 'fulfilled', 'fulfilled'],
  );
  assert.equal(Object.keys(store.value.downloads), ['https://b/', 'https://c/']);
  assert.is(written.length, 2);
  assert.is(written.at(-1), renderLockFile(store.value));
  await store.record('https://b/', HASH);
  assert.is(written.length, 2, 'what is recorded already is not written again');
});

function read(text: string): LockFile {
  return parseLockFile(text, 'f', 'small');
}

test.run();
