import { spawn } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LabCa } from '../lib/lab/ca.ts';
import { findComponents } from '../lib/lab/components.ts';
import { SAMPLE_DATABASE } from '../lib/lab/databases.ts';
import { type EmbeddedLab, startLab } from '../lib/lab/index.ts';
import { APPLICATION, ownersObjects } from '../lib/lab/owner.ts';
import { proofsOf, readRuns, stepsOf } from '../lib/lab/report.ts';
import { installTools } from '../lib/lab/tools/index.ts';
import { makeWorkspace, type Workspace } from '../lib/lab/workspace.ts';
import { openLab } from '../lib/lab-context.ts';
import { labPaths, TOOLKIT } from '../lib/paths.ts';
import { realExec } from '../lib/ports/exec.ts';
import { buildPorts } from '../lib/ports/index.ts';
import { quote } from '../lib/quote.ts';
import { type Canary, canaryOf, found, ProcessWatch } from './canary-watch.ts';

/**
 * Secrets that are easy to recognise go through the whole chain, and through the ways in which it fails. Afterwards
 * they may stand where they are needed, and nowhere else. HOMELAB_REAL=1 takes Terraform and Packer of this machine.
 */
const ODD = `"'%41\\q:$(id)`;
const core = (): string => randomBytes(9).toString('hex');
const canaries = {
  PROXMOX_TOKEN_SECRET: canaryOf(randomUUID()),
  CLOUDFLARE_API_TOKEN: canaryOf(core(), ODD),
  POSTGRES_MAIN_PASSWORD: canaryOf(core(), ODD),
  SOMETHING_ELSE: canaryOf(core(), ODD),
} satisfies Record<string, Canary>;
const rotated = canaryOf(core(), ODD);
const wrong = { PROXMOX_TOKEN_SECRET: canaryOf(randomUUID()), POSTGRES_MAIN_PASSWORD: canaryOf(core(), ODD) };

const root = mkdtempSync(join(tmpdir(), 'homelab-canary-'));
const watch = new ProcessWatch();
const said: { command: string; code: number | null; output: string }[] = [];
let lab: EmbeddedLab;
let workspace: Workspace;
let postgresql = false;

/** dotenv ends a value in backticks at the next one, and takes everything else as it is. */
function writeSecrets(values: Record<string, Canary>): void {
  const file = join(workspace.folder, '.env');
  const kept = readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line && !Object.keys(values).some((name) => line.startsWith(`${name}=`)));
  const lines = Object.entries(values).map(([name, { value }]) => `${name}=\`${value}\``);
  writeFileSync(file, `${[...kept, ...lines].join('\n')}\n`, { mode: 0o600 });
}

function run(argv: string[]): Promise<number | null> {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, {
    cwd: TOOLKIT,
    env: { PATH: process.env.PATH, HOME: process.env.HOME },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return new Promise((done) =>
    child.on('close', (code) => {
      said.push({ command: argv.join(' '), code, output });
      done(code);
    }),
  );
}

function make(target: string, args = '', ...more: string[]): Promise<number | null> {
  const flags = [`CONFIG=${workspace.configFile}`, 'YES=1', `ARGS=--verbose --json ${args}`, ...more];
  return run(['make', '--no-print-directory', target, ...flags]);
}

function script(name: string, ...args: string[]): Promise<number | null> {
  const file = join(TOOLKIT, 'scripts', `${name}.ts`);
  return run(['node', '--import', 'tsx', file, ...args, '--verbose', '--config', workspace.configFile]);
}

/** @throws with the output of the last command when it did not end so */
function ends(code: number | null, wanted: number): void {
  assert.is(code, wanted, `${said.at(-1)?.command}\n${said.at(-1)?.output}`);
}

async function deployOwners(): Promise<void> {
  const opened = openLab(workspace.configFile, {});
  const ports = buildPorts(opened.lab, opened.secrets, opened.settings);
  await ports.kube.apply(ownersObjects(opened.lab.config.backup?.postgresql ?? []));
  await ports.close();
  await lab.databases.start();
}

const test = suite('canary secrets');

test.before(async () => {
  const exec = realExec();
  const components = await findComponents(exec, process.env.HOMELAB_REAL ? [] : ['terraform', 'packer']);
  const ca = await LabCa.create();
  workspace = makeWorkspace(join(TOOLKIT, 'homelab.yaml'), join(root, 'lab'), ca, components);
  const tools = (['terraform', 'packer'] as const).filter((tool) => components[tool].state === 'stand-in');
  installTools(join(workspace.folder, 'bin'), tools);
  postgresql = components.postgresql.state === 'real';
  workspace.tokenSecret = canaries.PROXMOX_TOKEN_SECRET.value;
  workspace.postgresPasswords.main = canaries.POSTGRES_MAIN_PASSWORD.value;
  const withPassword = readFileSync(join(workspace.folder, '.env'), 'utf8').includes('PROXMOX_PASSWORD=');
  writeSecrets({ ...canaries, ...(withPassword && { PROXMOX_PASSWORD: canaries.PROXMOX_TOKEN_SECRET }) });
  lab = await startLab(workspace, ca);
  watch.start();
});

test.after(async () => {
  watch.stop();
  await lab.close();
  rmSync(root, { recursive: true, force: true });
});

test('are recognised in whatever form', () => {
  const { value } = canaries.POSTGRES_MAIN_PASSWORD;
  const forms = [value, JSON.stringify({ a: JSON.stringify(value) }), encodeURIComponent(value), quote(value)];
  for (const before of ['', 'a', 'ab', 'abc']) forms.push(Buffer.from(`${before}${value}`).toString('base64'));
  for (const form of forms) assert.ok(found(`x${form}x`, Object.values(canaries)).length > 0, form);
  assert.equal(found('nothing of it', Object.values(canaries)), []);
});

test('the chain runs with them', async () => {
  ends(await make('plan'), 0);
  ends(await make('up'), 0);
  await deployOwners();
  const { name, host, port } = APPLICATION;
  const ingress = `${name} --host ${host(workspace.config.domain)} --service ${name} --port ${port} --apply`;
  ends(await make('new-ingress', ingress), 0);
  if (postgresql) {
    ends(await make('backup-postgres'), 0);
    ends(await make('backup-install'), 0);
    ends(await make('restore-postgres', `--server main --database ${SAMPLE_DATABASE}`), 0);
  }
  await make('check');
});

test('and fails with them', async () => {
  writeSecrets(wrong);
  for (const name of ['build-template', 'provision']) ends(await script(name, '--yes'), 1);
  if (postgresql) ends(await script('backup-postgres', 'run', '--yes'), 1);

  writeSecrets({ ...canaries, CLOUDFLARE_API_TOKEN: rotated });
  ends(await script('setup-ingress', '--check'), 3);
  ends(await script('setup-ingress', '--yes', '--json'), 0);
});

test('they are in no output, journal, plan, report or process list', () => {
  const all = everyCanary();
  const { state } = labPaths(workspace.configFile, workspace.config.name);
  for (const { command, output } of said) assert.equal(found(output, all), [], command);
  const runs = readRuns(state);
  assert.ok(runs.length > 8, 'there are journals');
  assert.equal(found(JSON.stringify({ steps: stepsOf(runs), proofs: proofsOf(runs) }), all), []);
  if (process.platform === 'linux') assert.ok(watch.commands.size > 20, `${watch.commands.size} processes were seen`);
  for (const command of watch.commands) assert.equal(found(command, all), [], command);
});

test('they are in the environment of Terraform and Packer only', () => {
  for (const { command, environment } of watch.environments.values()) {
    if (/terraform|packer/.test(command)) continue;
    assert.equal(found(environment, everyCanary()), [], command);
  }
});

test('they are in files that need them only, which nobody else can read', () => {
  const all = everyCanary();
  const holding: string[] = [];
  for (const file of filesBelow(workspace.folder)) {
    if (found(readFileSync(file, 'latin1'), all).length === 0) continue;
    const path = relative(workspace.folder, file);
    assert.is((statSync(file).mode & 0o777).toString(8), '600', path);
    if (!NEEDED.some((needed) => needed.test(path))) holding.push(path);
  }
  assert.equal(holding, []);
  for (const left of leftovers()) assert.equal(found(readFileSync(left, 'latin1'), all), [], left);
});

test('they are in no object of the cluster but Secrets, which a snapshot leaves out', () => {
  assert.equal(found(JSON.stringify(lab.snapshot()), everyCanary()), []);
});

/**
 * Where a secret must be: the owner's .env, ours, K3s's own token files, what K3s keeps of its objects, and the snapshots of
 * etcd on the NAS, which hold all of it and the token without which they could not be restored on new machines.
 */
const NEEDED = [
  /^\.env$/,
  /^\.state\/homelab\/secrets\/k3s-token$/,
  /^machines\/\d+\/root\/etc\/rancher\/k3s\/config\.yaml$/,
  /^machines\/\d+\/root\/var\/lib\/rancher\/k3s\/(server|agent)\//,
  /^nas\/synology\/k3s-backups\/etcd\/homelab\//,
];

function everyCanary(): Canary[] {
  const { state } = labPaths(workspace.configFile, workspace.config.name);
  const token = canaryOf(readFileSync(join(state, 'secrets', 'k3s-token'), 'utf8').trim());
  return [...Object.values(canaries), ...Object.values(wrong), rotated, token];
}

function filesBelow(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Temporary folders of the backup engine that are still there. */
function leftovers(): string[] {
  return ['/tmp', tmpdir()].flatMap((folder) =>
    readdirSync(folder)
      .filter((name) => name.startsWith('homelab-pg-'))
      .map((name) => join(folder, name, 'pgpass'))
      .filter((file) => existsSync(file)),
  );
}

test.run();
