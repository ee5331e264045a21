import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isOfThisMachine, missingExtensions } from '../lib/backup/extensions.ts';
import type { ProofReport } from '../lib/backup/manifest.ts';
import { judged } from '../lib/backup/verify-set.ts';

const test = suite('backup-postgres verify: a machine that lacks something');

const database = { extensions: { vector: '0.8', plpgsql: '1.0' } } as unknown as Parameters<
  typeof missingExtensions
>[1];
const missing = missingExtensions('app', database, new Set(['plpgsql']), 15);

test('an extension that is not here says nothing of the set', () => {
  assert.is(missing.length, 1);
  assert.ok(isOfThisMachine(missing));
});
test('a dump that is damaged does, also beside it', () => {
  assert.not(isOfThisMachine(['app.dump: its SHA-256 is not the manifest’s']));
  assert.not(isOfThisMachine([...missing, '"app": table "public"."t" is missing']));
});
test('without a problem there is nothing to excuse', () => assert.not(isOfThisMachine([])));

const proof = (more: Partial<ProofReport>): ProofReport => ({
  ...{ format: 1, set: 's', ok: false, checked: '2026-11-20T03:00:00.000Z', seconds: 1, server_version: '15.19' },
  ...{ manifest_sha256: '', databases: 1, tables: 1, rows: 1, problems: ['"app": no'], differences: [], ...more },
});
const into = (version: string, more: Partial<ProofReport> = {}): ProofReport =>
  proof({ server_version: version, differences: [`restored into PostgreSQL ${version}`], ...more });
for (const [what, state, report, demoted] of [
  ['a newer PostgreSQL, than the one that has proven it', 'proven', into('18.6'), false],
  ['the same one', 'proven', proof({}), true],
  ['a newer one, by its hashes', 'proven', proof({ server_version: '18.6' }), true],
  ['a newer one, and was never proven', 'damaged', into('18.6'), true],
] as const)
  test(`a set that fails in ${what}, ${demoted ? 'counts no more' : 'stays proven'}`, () => {
    const set = { name: 's', state, report: proof({ ok: true, problems: [] }) };
    if (demoted) assert.is(judged(set, report), report);
    else assert.throws(() => judged(set, report), /^s cannot be proven on this machine; it stays proven 2026-11-20/);
  });

test.run();
