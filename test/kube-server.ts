import { type ChildProcess, spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { createWriteStream, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { stringify } from 'yaml';
import { until } from '../lib/deadline.ts';
import { LabCa } from '../lib/lab/ca.ts';
import type { Outcome, Ssh } from '../lib/ports/types.ts';

/** A real API server, on loopback, with etcd behind it: objects and their rules, without controllers and nodes. */
export type KubeServer = {
  kubectl(args: readonly string[], stdin?: string): Promise<Outcome>;
  /** Where an SSH port would run `k3s kubectl`, the real kubectl runs against this server. */
  ssh: Ssh;
  /** What the controller for namespaces would do once nothing is left in one: without it they never go. */
  finish(namespace: string): Promise<void>;
  /** Ends the other of etcd's two members, for good: no majority is left, as when one of two K3s servers is lost. */
  loseMember(): Promise<void>;
  close(): Promise<void>;
};

const PROGRAMS = ['etcd', 'kube-apiserver', 'kubectl'];
/** Seconds until it serves, on a machine that has other things to do. */
const SERVES_WITHIN = 120;

/** The folder of KUBEBUILDER_ASSETS (envtest's convention), or why there is none. */
export function kubeAssets(): { folder: string } | { missing: string } {
  const folder = process.env.KUBEBUILDER_ASSETS;
  if (!folder)
    return { missing: 'KUBEBUILDER_ASSETS names no folder with kube-apiserver, etcd and kubectl (.ci/kube makes one)' };
  const absent = PROGRAMS.filter((name) => !existsSync(join(folder, name)));
  return absent.length > 0 ? { missing: `KUBEBUILDER_ASSETS (${folder}) has no ${absent.join(', ')}` } : { folder };
}

export async function startKubeServer(assets: string): Promise<KubeServer> {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-kube-'));
  const file = (name: string, content: string): string => {
    writeFileSync(join(folder, name), content, { mode: 0o600 });
    return join(folder, name);
  };
  const ca = await LabCa.create('kube test CA');
  const pair = await ca.issue(['localhost'], ['127.0.0.1']);
  const account = generateKeyPairSync('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs8', format: 'pem' },
  });
  const port = await freePort();
  const signing = file('account.key', account.privateKey);
  const children: ChildProcess[] = [];
  const start = (name: string, args: string[]): void => {
    const log = createWriteStream(join(folder, `${name}.log`));
    const child = spawn(join(assets, name), args, { cwd: folder, env: {}, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [child.stdout, child.stderr]) stream.pipe(log, { end: false });
    children.push(child);
  };
  const members = await Promise.all(
    ['first', 'second'].map(async (name) => ({ name, client: await freePort(), peer: await freePort() })),
  );
  const url = (at: number): string => `http://127.0.0.1:${at}`;
  for (const { name, client, peer } of members)
    start('etcd', [
      ...[`--name=${name}`, `--data-dir=${join(folder, name)}`, '--unsafe-no-fsync', '--log-level=warn'],
      ...[`--listen-client-urls=${url(client)}`, `--advertise-client-urls=${url(client)}`],
      ...[`--listen-peer-urls=${url(peer)}`, `--initial-advertise-peer-urls=${url(peer)}`],
      `--initial-cluster=${members.map((each) => `${each.name}=${url(each.peer)}`).join(',')}`,
    ]);
  start('kube-apiserver', [
    ...['--bind-address=127.0.0.1', '--advertise-address=127.0.0.1', `--secure-port=${port}`],
    ...[`--etcd-servers=${url(members[0]!.client)}`, '--endpoint-reconciler-type=none'],
    ...[`--tls-cert-file=${file('api.crt', pair.cert)}`, `--tls-private-key-file=${file('api.key', pair.key)}`],
    `--token-auth-file=${file('tokens.csv', 'test-token,test,test,system:masters\n')}`,
    ...['--authorization-mode=RBAC', '--service-cluster-ip-range=10.43.0.0/16', '--allow-privileged=true'],
    ...[`--service-account-key-file=${signing}`, `--service-account-signing-key-file=${signing}`],
    '--service-account-issuer=https://kubernetes.default.svc',
    // Nobody makes the account of a namespace, without which no pod would be taken.
    ...['--disable-admission-plugins=ServiceAccount', `--cert-dir=${folder}`],
  ]);
  const cluster = { server: `https://127.0.0.1:${port}`, 'certificate-authority-data': btoa(ca.certificate) };
  const kubeconfig = file(
    'kubeconfig',
    stringify({
      ...{ apiVersion: 'v1', kind: 'Config', 'current-context': 'test' },
      clusters: [{ name: 'test', cluster }],
      users: [{ name: 'test', user: { token: 'test-token' } }],
      contexts: [{ name: 'test', context: { cluster: 'test', user: 'test' } }],
    }),
  );
  const env = { KUBECONFIG: kubeconfig, HOME: folder, PATH: '/usr/bin:/bin' };
  const kubectl: KubeServer['kubectl'] = (args, stdin = '') => run(join(assets, 'kubectl'), args, stdin, env);

  const close = async (): Promise<void> => {
    for (const child of children) await ended(child);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await until(SERVES_WITHIN, 'the API server serves', serves, {
      sleep: (s) => new Promise((done) => setTimeout(done, s * 1000)),
    });
  } catch (error) {
    const logs = PROGRAMS.slice(0, 2).map((name) => readFileSync(join(folder, `${name}.log`), 'utf8').slice(-2000));
    await close();
    throw new Error(`${error}\n${logs.join('\n')}`);
  }
  return { kubectl, ssh: sshThat(kubectl), finish, loseMember, close };

  async function serves(): Promise<{ done: true; value: undefined } | { done: false; seen: string }> {
    const dead = children.find(({ exitCode, signalCode }) => exitCode !== null || signalCode !== null);
    if (dead) throw new Error(`${dead.spawnfile} has ended`);
    const ready = await kubectl(['get', '--raw', '/readyz']);
    const defaults = ready.code === 0 ? await kubectl(['get', 'namespace', 'default', '-o', 'name']) : ready;
    return defaults.code === 0 ? { done: true, value: undefined } : { done: false, seen: defaults.stderr };
  }

  async function loseMember(): Promise<void> {
    await ended(children[1]!);
  }

  async function finish(namespace: string): Promise<void> {
    const path = `/api/v1/namespaces/${namespace}/finalize`;
    const body = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: namespace }, spec: { finalizers: [] } };
    const { code, stderr } = await kubectl(['replace', '--raw', path, '-f', '-'], JSON.stringify(body));
    if (code !== 0) throw new Error(stderr);
  }
}

function run(program: string, args: readonly string[], stdin: string, env: NodeJS.ProcessEnv): Promise<Outcome> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { env, timeout: 120_000, killSignal: 'SIGKILL' });
    const out: Buffer[] = [];
    const errors: Buffer[] = [];
    child.stdout.on('data', (data: Buffer) => out.push(data));
    child.stderr.on('data', (data: Buffer) => errors.push(data));
    // A kubectl that refuses its flags does not read what it is sent.
    child.stdin.on('error', () => undefined);
    child.stdin.end(stdin);
    child.on('error', reject);
    child.on('close', (code) =>
      resolve({ code: code ?? 137, stdout: Buffer.concat(out).toString(), stderr: Buffer.concat(errors).toString() }),
    );
  });
}

function sshThat(kubectl: KubeServer['kubectl']): Ssh {
  const unused = (): never => {
    throw new Error('not used here');
  };
  const run: Ssh['run'] = (_host, [k3s, verb, ...args], { stdin } = {}) => {
    if (k3s !== 'k3s' || verb !== 'kubectl') throw new Error(`${k3s} ${verb} is not there`);
    return kubectl(args, stdin === undefined ? '' : String(stdin));
  };
  return {
    ...{ reachable: unused, readFile: unused, upload: unused, forward: unused },
    ...{ learnHostKey: unused, forgetHostKey: unused, roundTrips: () => ({}) },
    run,
    read: async (host, argv, options) => ({ ok: true, value: await run(host, argv, options) }),
  };
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((done) => server.once('listening', done));
  const { port } = server.address() as { port: number };
  await new Promise((done) => server.close(done));
  return port;
}

/** At once: there is nothing to save. */
function ended(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return Promise.resolve();
  return new Promise((done) => {
    child.once('exit', () => done());
    child.kill('SIGKILL');
  });
}
