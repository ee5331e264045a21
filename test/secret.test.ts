import { inspect } from 'node:util';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { Secret, Secrets } from '../lib/secret.ts';

const test = suite('secrets');
const VALUE = `s3cr"t $(id) 'ü'\n/+=`;

test('a secret shows its name, however it is printed', () => {
  const secret = new Secret('TOKEN', VALUE);
  const shown = [
    `${secret}`,
    String(secret),
    inspect(secret),
    inspect({ deep: [secret] }),
    JSON.stringify(secret),
    JSON.stringify({ secret }),
    Object.values(secret).join(),
    Object.entries({ ...secret }).join(),
    `${new Error(`failed with ${secret}`)}`,
  ];
  for (const text of shown) assert.not.match(text, 's3cr');
  assert.is(`${secret}`, '[secret TOKEN]');
  assert.is(secret.reveal(), VALUE);
});

test('text loses the values of secrets, in every form in which they travel', () => {
  const secrets = new Secrets();
  secrets.add('TOKEN', VALUE);
  const forms = [
    VALUE,
    encodeURIComponent(VALUE),
    JSON.stringify({ a: VALUE }),
    Buffer.from(VALUE).toString('base64'),
    `https://user:${encodeURIComponent(VALUE)}@host/`,
    `${VALUE}${VALUE}`,
  ];
  for (const form of forms) {
    const text = secrets.redact(`before ${form} after`);
    assert.match(text, '[secret TOKEN]');
    for (const part of ['s3cr', Buffer.from(VALUE).toString('base64')]) assert.not.match(text, part);
  }
  assert.is(secrets.redact('nothing of it'), 'nothing of it');
});

test('a short value is not searched for: it would blot out ordinary words', () => {
  const secrets = new Secrets();
  secrets.add('SHORT', 'step');
  assert.is(secrets.redact('step by step'), 'step by step');
});

test('no text keeps a secret', () => {
  const value = fc.string({ minLength: 6, maxLength: 40, unit: 'grapheme' });
  fc.assert(
    fc.property(value, fc.string(), fc.string(), (secret, before, after) => {
      const secrets = new Secrets();
      secrets.add('S', secret);
      // What stands around may complete another copy of the value; then it is found in the next round.
      const text = secrets.redact(`${before}\n${secret}\n${after}`);
      fc.pre(!'[secret S]'.includes(secret) && !before.includes(secret) && !after.includes(secret));
      assert.is(text, `${before}\n[secret S]\n${after}`);
    }),
  );
});

test('two secrets, one of which holds the other', () => {
  const secrets = new Secrets();
  secrets.add('SHORT', 'abcdef');
  secrets.add('LONG', 'abcdef-and-the-rest');
  assert.not.match(secrets.redact('x abcdef-and-the-rest y abcdef'), /abcdef|and-the-rest/);
});

test.run();
