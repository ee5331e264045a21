import { readFileSync, writeFileSync } from 'node:fs';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { findObject } from '../lib/kube-object.ts';
import { APPLICATION, ownersObjects } from '../lib/lab/owner.ts';
import { openLab } from '../lib/lab-context.ts';
import { observeIngress } from '../lib/observe/ingress.ts';
import { observeMetallb } from '../lib/observe/metallb.ts';
import { observeNewIngress } from '../lib/observe/new-ingress.ts';
import type { KubeObject } from '../lib/step.ts';
import { type FullLab, startFullLab } from './full-lab.ts';
import { withPorts } from './lab-ports.ts';

/** What goes wrong with ingresses: named, nothing half-done, and the next run converges. One story from test to test. */
const test = suite('ingress and faults');
let full: FullLab;
const { name, host, port } = APPLICATION;
const call = [name, '--host', host('codeofficer.com'), '--service', name, '--port', String(port)];
const CERTIFICATE = { apiVersion: 'cert-manager.io/v1', kind: 'Certificate', name: `${name}-tls`, namespace: name };

test.before(async () => {
  full = await startFullLab();
  for (const script of ['install-k3s', 'install-metallb']) {
    const { code, stderr } = await full.script(script, '--yes');
    assert.is(code, 0, stderr);
  }
  await withPorts(full.workspace.configFile, ({ kube }) => kube.apply(ownersObjects([])));
});
test.after(() => full.close());

const certificate = (): Promise<KubeObject | undefined> =>
  withPorts(full.workspace.configFile, async ({ kube }) => {
    const answer = await kube.survey([CERTIFICATE]);
    return answer.ok ? findObject(answer.value, CERTIFICATE) : undefined;
  });
function configured(from: string, to: string): void {
  const text = readFileSync(full.workspace.configFile, 'utf8');
  assert.ok(text.includes(from));
  writeFileSync(full.workspace.configFile, text.replace(from, to));
}

test('a chart whose job fails: no issuer is set up without it; the rerun converges', async () => {
  full.lab.cluster.faults.helm['cert-manager'] =
    'Error: INSTALLATION FAILED: another operation (install/upgrade/rollback) is in progress';
  const { code, stderr } = await full.script('setup-ingress', '--yes');
  delete full.lab.cluster.faults.helm['cert-manager'];
  assert.is(code, 1);
  assert.match(stderr, /probable cause: helm was ended in the middle, and keeps the release locked/);
  assert.match(stderr, /– apply ClusterIssuer letsencrypt-prod \(skipped/);
  const again = await full.script('setup-ingress', '--yes');
  assert.is(again.code, 0, again.stderr);
  assert.equal(await full.plannedBy('setup-ingress'), []);
});

test('a token that Cloudflare refuses: said at once, from the depth of the chain, with what to do', async () => {
  full.lab.cluster.faults.acme =
    'while querying the Cloudflare API for GET "/zones?name=codeofficer.com" \n\t Error: 9109: Invalid access token';
  const { code, stderr } = await full.script('new-ingress', ...call, '--apply', '--yes');
  assert.is(code, 1);
  assert.match(stderr, `error: the certificate ${name}/${name}-tls is not issued`);
  assert.match(stderr, / {2}\| Challenge for hello\.codeofficer\.com: .*Error: 9109: Invalid access token/);
  assert.match(stderr, /probable cause: Cloudflare refuses the token/);
  assert.match(stderr, /to fix: make one with Zone:Zone:Read and Zone:DNS:Edit .*run setup-ingress/);
});

test('while it is so, the next run plans to ask anew; once it is mended, that run converges', async () => {
  assert.equal(await full.plannedBy('new-ingress', ...call, '--apply'), ['certificate/retry', 'certificate']);
  delete full.lab.cluster.faults.acme;
  const { code, stderr } = await full.script('new-ingress', ...call, '--apply', '--yes');
  assert.is(code, 0, stderr);
  assert.match(
    stderr,
    /✓ https:\/\/hello\.codeofficer\.com\/ answers 200: 200, certificate for hello\.codeofficer\.com/,
  );
  assert.equal(await full.plannedBy('new-ingress', ...call, '--apply'), []);
});

test('a rate limit: cert-manager would wait for an hour, the run does not; afterwards it converges', async () => {
  const other = ['--host', 'again.codeofficer.com', ...call.slice(3)];
  full.lab.cluster.faults.acmeOrder =
    'Failed to create Order: 429 urn:ietf:params:acme:error:rateLimited: too many certificates (5) already issued, retry after 2026-11-24 07:00:00 UTC';
  const { code, stderr } = await full.script('new-ingress', name, ...other, '--apply', '--yes');
  delete full.lab.cluster.faults.acmeOrder;
  assert.is(code, 1);
  assert.match(stderr, /\| Order is errored: .*rateLimited: .*retry after 2026-11-24 07:00:00 UTC/);
  assert.match(stderr, /to fix: wait until the time that it names; .*letsencrypt-staging/);
  const failed = await certificate();
  const again = await full.script('new-ingress', name, ...other, '--apply', '--yes');
  assert.is(again.code, 0, again.stderr);
  assert.match(again.stderr, /✓ https:\/\/again\.codeofficer\.com\/ answers 200/);
  assert.is.not((await certificate())?.metadata.uid, failed?.metadata.uid);
});

test('the staging issuer: its certificate is untrusted by design, and that is said', async () => {
  configured('issuer: letsencrypt-prod', 'issuer: letsencrypt-staging');
  const { code, stderr } = await full.script('new-ingress', ...call, '--apply', '--yes', '--force');
  assert.is(code, 0, stderr);
  assert.match(
    stderr,
    /answers 200: 200, certificate for hello\.codeofficer\.com by \(STAGING\) .*, untrusted by design/,
  );
});

test('check tells what is wrong in the cluster, and not of what K3s and charts bring', async () => {
  configured('issuer: letsencrypt-staging', 'issuer: letsencrypt-prod');
  await withPorts(full.workspace.configFile, async ({ kube }) => {
    await kube.delete([
      { apiVersion: 'traefik.io/v1alpha1', kind: 'Middleware', name: 'redirect-https', namespace: 'default' },
      { apiVersion: 'v1', kind: 'Service', name, namespace: name },
    ]);
  });
  const { stdout } = await full.script('check', '--json');
  const { report } = JSON.parse(stdout) as { report: { findings: { area: string; level: string; text: string }[] } };
  const found = report.findings
    .filter(({ area }) => area === 'conventions')
    .map(({ level, text }) => `${level} ${text}`);
  const ingress = `applications/${name}/ingress.yaml: Ingress ${name}/${name}:`;
  assert.equal(found.sort(), [
    `broken ${ingress} cert-manager.io/cluster-issuer is letsencrypt-staging`,
    `broken ${ingress} the Middleware default-redirect-https@kubernetescrd is not in the cluster: it answers 404`,
    `broken ${ingress} there is no Service ${name}/${name}: it answers 404`,
  ]);
});

test('round trips of a look: one at the cluster, one at each server', async () => {
  const trips = (look: Parameters<typeof withPorts<unknown>>[1]): Promise<Record<string, number>> =>
    withPorts(full.workspace.configFile, async (ports) => {
      await look(ports);
      return ports.ssh.roundTrips();
    });
  const { lab, secrets } = openLab(full.workspace.configFile, {});
  assert.equal(await trips((ports) => observeMetallb(lab, ports)), { 'k3s-cp-01': 2, 'k3s-cp-02': 1 });
  // The token's Secret is asked for by name: no other is read.
  assert.equal(await trips((ports) => observeIngress(lab, ports, {}, { secrets })), { 'k3s-cp-01': 2 });
  const args = { name, host: host('codeofficer.com'), service: name, port: String(port), probe: '/' };
  assert.equal(await trips((ports) => observeNewIngress(lab, ports, { ...args, apply: true, force: false })), {
    'k3s-cp-01': 1,
  });
});

test.run();
