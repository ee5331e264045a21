import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { APPLICATION, ownersObjects } from '../lib/lab/owner.ts';
import type { Ports } from '../lib/ports/types.ts';
import { type FullLab, startFullLab } from './full-lab.ts';
import { withPorts as portsOf } from './lab-ports.ts';

/** setup-nfs, setup-ingress and new-ingress as a person runs them, one story from test to test. */
const test = suite('storage and ingress in the lab');
let full: FullLab;

test.before(async () => {
  full = await startFullLab();
  for (const script of ['install-k3s', 'install-metallb']) {
    const { code, stderr } = await full.script(script, '--yes');
    assert.is(code, 0, stderr);
  }
});
test.after(() => full.close());

const nas = (path: string): string => join(full.workspace.folder, 'nas', 'unas', path);
const application = (path: string): string => join(full.workspace.folder, 'applications', path);

const withPorts = <T>(work: (ports: Ports) => Promise<T>): Promise<T> => portsOf(full.workspace.configFile, work);

test('storage: set up, proven from every host, and the proof leaves nothing', async () => {
  const { code, stderr } = await full.script('setup-nfs', '--yes');
  assert.is(code, 0, stderr);
  assert.match(stderr, 'setup-nfs: 9 changes; 20 of 20 proofs hold');
  assert.match(stderr, /✓ pve-01 cannot mount unas:\S+K3sStorage: refused: mount.nfs: access denied by server/);
  assert.match(
    stderr,
    /✓ a claim of nfs-client gets its folder: bound; what a pod wrote is in homelab-proof-\w{8}-claim of unas\/K3sStorage/,
  );
  assert.equal(readdirSync(nas('K3sStorage')), []);
  assert.not.match(JSON.stringify(full.lab.cluster.snapshot()), 'homelab-proof-');
  assert.equal(await full.plannedBy('setup-nfs'), []);
});

test('an export that lets everybody in fails the run', async () => {
  full.lab.nas.faults.open.add('unas');
  const { code, stderr } = await full.script('setup-nfs', '--yes');
  full.lab.nas.faults.open.clear();
  assert.is(code, 1);
  assert.match(stderr, /✗ pve-01 cannot mount unas:\S+K3sStorage: it could mount: the export is open to it/);
  assert.match(stderr, 'setup-nfs: nothing to do; 14 of 20 proofs hold');
});

test('ingress: issuers Ready, the token in no output', async () => {
  const { code, stdout, stderr } = await full.script('setup-ingress', '--yes', '--verbose', '--json');
  assert.is(code, 0, stderr);
  assert.match(stderr, 'setup-ingress: 7 changes; 5 of 5 proofs hold');
  assert.not.match(stdout + stderr, full.workspace.cloudflareToken);
  assert.is(
    readFileSync(application('traefik/middleware.yaml'), 'utf8'),
    readFileSync('applications/traefik/middleware.yaml', 'utf8'),
  );
  assert.equal(await full.plannedBy('setup-ingress'), []);
});

test('a new token in .env is noticed, and only it is applied', async () => {
  const env = join(full.workspace.folder, '.env');
  const text = readFileSync(env, 'utf8');
  writeFileSync(env, text.replace(full.workspace.cloudflareToken, 'another-token-0123456789'));
  assert.equal(await full.plannedBy('setup-ingress'), ['cert-manager/token']);
  const { code, stderr } = await full.script('setup-ingress', '--yes');
  assert.is(code, 0, stderr);
  assert.equal(await full.plannedBy('setup-ingress'), []);
});

const { name, host, port } = APPLICATION;
const call = (): string[] => [name, '--host', host('codeofficer.com'), '--service', name, '--port', String(port)];

test('an ingress for what is not there is refused, and nothing is written', async () => {
  const { code, stderr } = await full.script('new-ingress', ...call(), '--apply', '--yes');
  assert.is(code, 1);
  assert.match(stderr, `blocker: namespace ${name} has no Service ${name}`);
  assert.equal(readdirSync(application('')), ['traefik']);
});

test('an ingress, proven from outside', async () => {
  await withPorts((ports) => ports.kube.apply(ownersObjects([])));
  const { code, stderr } = await full.script('new-ingress', ...call(), '--apply', '--yes');
  assert.is(code, 0, stderr);
  assert.match(
    stderr,
    /✓ http:\/\/hello\.codeofficer\.com\/ redirects to HTTPS: 301 → https:\/\/hello\.codeofficer\.com\//,
  );
  assert.match(
    stderr,
    /✓ https:\/\/hello\.codeofficer\.com\/ answers 200: 200, certificate for hello\.codeofficer\.com/,
  );
  assert.equal(await full.plannedBy('new-ingress', ...call(), '--apply'), []);
});

test('its host is taken, also when only the cluster knows', async () => {
  const other = [
    'other',
    '--host',
    host('codeofficer.com'),
    '--service',
    name,
    '--namespace',
    name,
    '--port',
    String(port),
  ];
  const { stdout, code } = await full.script('new-ingress', ...other, '--check');
  assert.is(code, 3);
  assert.match(stdout, `is already claimed by Ingress ${name}/${name} (applications/${name}/ingress.yaml)`);
});

test('without the redirect middleware it is refused', async () => {
  await withPorts((ports) =>
    ports.kube.delete([
      { apiVersion: 'traefik.io/v1alpha1', kind: 'Middleware', name: 'redirect-https', namespace: 'default' },
    ]),
  );
  const { code, stderr } = await full.script('new-ingress', ...call(), '--apply', '--yes');
  assert.is(code, 1);
  assert.match(
    stderr,
    'blocker: the Middleware default/redirect-https is not in the cluster: Traefik would answer 404',
  );
});
test.run();
