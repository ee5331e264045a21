import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadEnv, postgresPassword, requireSecrets } from '../lib/config/env.ts';
import type { HomelabError } from '../lib/errors.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { Secrets } from '../lib/secret.ts';

const test = suite('.env');
const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
const file = join(folder, '.env');
test.after(() => rmSync(folder, { recursive: true }));

function write(text: string, mode = 0o600): void {
  rmSync(file, { force: true }); // one of mode 0400 is not written over, but by root
  writeFileSync(file, text);
  chmodSync(file, mode);
}

test('one that others can read is refused, with its mode and the command', () => {
  for (const mode of [0o644, 0o640, 0o604, 0o660, 0o601]) {
    write('A=1', mode);
    assert.throws(
      () => loadEnv(file, {}, []),
      (error: HomelabError) =>
        error.exit === 2 &&
        error.message === `${file} holds secrets and can be read by others (mode 0${mode.toString(8)})` &&
        error.fix === `chmod 600 ${file}`,
    );
  }
  for (const mode of [0o600, 0o400]) {
    write('A=1', mode);
    assert.is(loadEnv(file, {}, []).secrets.get('A')?.reveal(), '1');
  }
});

test('none is fine as long as nothing is wanted', () => {
  const { secrets, settings } = loadEnv(join(folder, 'nothing'), {}, ['PROXMOX_TOKEN_SECRET']);
  assert.equal([secrets.names(), settings], [[], {}]);
});

test('what is missing is named, all of it', () => {
  write('PROXMOX_TOKEN_SECRET=\nOTHER=x\n');
  const { secrets } = loadEnv(file, {}, []);
  assert.throws(
    () => requireSecrets(secrets, ['PROXMOX_TOKEN_SECRET', 'OTHER', 'CLOUDFLARE_API_TOKEN'], file),
    (error: HomelabError) =>
      error.exit === 2 &&
      error.message === `${file}: PROXMOX_TOKEN_SECRET is missing\n${file}: CLOUDFLARE_API_TOKEN is missing` &&
      error.fix === `add it to ${file} (.env.example says what each is)`,
  );
  requireSecrets(secrets, ['OTHER'], file);
});

test('the environment wins for what is wanted; empty is as if unset; other variables stay out', () => {
  write('TOKEN=from-file\nEMPTY=kept\nHOMELAB_ENDPOINTS=endpoints.json\n');
  const environment = { TOKEN: 'from-environment', EMPTY: '', WANTED: 'wanted', HOME: '/root' };
  const { secrets, settings } = loadEnv(file, environment, ['TOKEN', 'WANTED']);
  assert.equal(
    ['TOKEN', 'EMPTY', 'WANTED', 'HOME'].map((name) => secrets.get(name)?.reveal()),
    ['from-environment', 'kept', 'wanted', undefined],
  );
  assert.equal(settings, { HOMELAB_ENDPOINTS: 'endpoints.json' });
  assert.is(secrets.get('HOMELAB_ENDPOINTS'), undefined, 'a setting is no secret');
});

test('values keep quotes, dollars and newlines', () => {
  const value = `a"b'c$(id)\`d\\n;#é`;
  write(`TOKEN='${value.replaceAll("'", '')}'\nMULTI="a\\nb"\n`);
  const { secrets } = loadEnv(file, {}, []);
  assert.is(secrets.get('TOKEN')?.reveal(), value.replaceAll("'", ''));
  assert.is(secrets.get('MULTI')?.reveal(), 'a\nb');
});

test('the sample names every secret, and holds none', () => {
  const sample = readFileSync(join(TOOLKIT, '.env.example'), 'utf8');
  for (const name of ['PROXMOX_TOKEN_SECRET', 'CLOUDFLARE_API_TOKEN', postgresPassword('main')])
    assert.match(sample, new RegExp(`^${name}=$`, 'm'));
});

test('the password of a server with a dash in its name', () => {
  assert.is(postgresPassword('main-db'), 'POSTGRES_MAIN_DB_PASSWORD');
  assert.is(new Secrets().get('x'), undefined);
});

test.run();
