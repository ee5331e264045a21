import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { isOfThisMachine, missingExtensions } from '../lib/backup/extensions.ts';

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

test.run();
