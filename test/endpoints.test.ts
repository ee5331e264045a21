import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { refusedDials } from '../lib/lab/report.ts';
import { openLab } from '../lib/lab-context.ts';
import { DialRefused, endpointsFromFile, NothingListens, realEndpoints } from '../lib/ports/endpoints.ts';
import { buildPorts } from '../lib/ports/index.ts';

const test = suite<{ folder: string }>('the endpoint table');

test.before.each((context) => {
  context.folder = mkdtempSync(join(tmpdir(), 'homelab-endpoints-'));
  const dial = { '10.0.0.1:22': '127.0.0.1:4022', '10.0.0.2': null, '10.0.0.3:22': '10.0.0.3:22' };
  writeFileSync(join(context.folder, 'endpoints.json'), JSON.stringify({ dial, mounts: { 'nas:/x': '/tmp/x' } }));
});
test.after.each(({ folder }) => rmSync(folder, { recursive: true, force: true }));

test('a real lab dials what it is told', () => {
  assert.equal(realEndpoints.dial('10.0.0.1', 22), { host: '10.0.0.1', port: 22 });
});

test('a rehearsal dials loopback, and nothing that it does not hold', ({ folder }) => {
  const endpoints = endpointsFromFile(join(folder, 'endpoints.json'));
  assert.equal(endpoints.dial('10.0.0.1', 22), { host: '127.0.0.1', port: 4022 });
  assert.throws(
    () => endpoints.dial('10.0.0.2', 6443),
    (error: Error) => error instanceof NothingListens,
  );
  assert.throws(
    () => endpoints.dial('10.0.0.1', 23),
    (error: Error) => error instanceof DialRefused,
  );
  assert.throws(
    () => endpoints.dial('192.0.2.7', 443),
    (error: Error) => error instanceof DialRefused,
  );
  assert.throws(
    () => endpoints.dial('10.0.0.3', 22),
    (error: Error) => error instanceof DialRefused,
    'the table itself leads off loopback',
  );
  assert.equal(refusedDials(folder), ['10.0.0.1:23', '192.0.2.7:443']);
  assert.is(endpoints.mount('nas:/x'), '/tmp/x');
});

test('a rehearsal that lost its .env dials nothing', ({ folder }) => {
  copyFileSync(new URL('./fixtures/valid/small.yaml', import.meta.url), join(folder, 'homelab.yaml'));
  const { lab, secrets, settings } = openLab(join(folder, 'homelab.yaml'), {});
  assert.throws(() => buildPorts(lab, secrets, settings), /is a rehearsal's/);
});

test.run();
