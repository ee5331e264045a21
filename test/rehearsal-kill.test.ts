import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LabCa } from '../lib/lab/ca.ts';
import type { Component } from '../lib/lab/components.ts';
import { type EmbeddedLab, startLab } from '../lib/lab/index.ts';
import { makeSshKey } from '../lib/lab/ssh-key.ts';
import { installTools } from '../lib/lab/tools/index.ts';
import { makeWorkspace, type Workspace } from '../lib/lab/workspace.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { nodeArgv } from './node-argv.ts';

/**
 * The chain is killed (SIGKILL, make and scripts alike) at ten random moments and run again: what comes out must be
 * what an undisturbed run makes. HOMELAB_SEED repeats a run's moments.
 */
const KILLS = 10;
const seed = Number(process.env.HOMELAB_SEED ?? Date.now() % 100_000);
/** One for both labs: it is part of what goes into the template. */
const key = makeSshKey('rehearsal');
const standIn: Component = { state: 'stand-in', why: 'this test' };

type Rehearsed = { workspace: Workspace; lab: EmbeddedLab; close(): Promise<void> };

async function start(): Promise<Rehearsed> {
  const root = mkdtempSync(join(tmpdir(), 'homelab-kill-'));
  const ca = await LabCa.create();
  const workspace = makeWorkspace(
    join(TOOLKIT, 'homelab.yaml'),
    join(root, 'lab'),
    ca,
    {
      terraform: standIn,
      packer: standIn,
      postgresql: { state: 'skipped', why: 'this test' },
    },
    key,
  );
  installTools(join(workspace.folder, 'bin'), ['terraform', 'packer'], nodeArgv);
  const lab = await startLab(workspace, ca);
  return {
    workspace,
    lab,
    close: async () => {
      await lab.close();
      rmSync(root, { recursive: true, force: true });
    },
  };
}

function up({ workspace }: Rehearsed): {
  child: ChildProcess;
  ended: Promise<{ code: number | null; output: string }>;
} {
  const child = spawn('make', ['--no-print-directory', 'up', 'YES=1', `CONFIG=${workspace.configFile}`], {
    cwd: TOOLKIT,
    detached: true,
    env: { PATH: process.env.PATH, HOME: process.env.HOME },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  return { child, ended: new Promise((done) => child.on('close', (code) => done({ code, output }))) };
}

/** What must be the same however often a run was killed: VMs, objects, leases, and which files there are. */
function outcome({ lab, workspace }: Rehearsed): unknown {
  const { pve, cluster, files } = lab.snapshot() as { pve: unknown; cluster: unknown; files: Record<string, string> };
  return {
    pve,
    cluster,
    lock: readFileSync(join(workspace.folder, 'homelab.lock.yaml'), 'utf8'),
    files: [...new Set(Object.keys(files).map(timeless))].filter((path) => !path.startsWith('.state/')).sort(),
  };
}

/** Whether a proof of a mount is at work on a host, or has left its mount point. */
function underWay({ lab }: Rehearsed): boolean {
  const { files } = lab.snapshot() as { files: Record<string, string> };
  return Object.keys(files).some((path) => /\/run\/homelab-proof-/.test(path));
}

/** Snapshots of etcd are called after the second in which they were taken, and a killed run may have taken one more. */
function timeless(path: string): string {
  return path.replace(/(\/homelab-k3s-cp-\d+)-\d{9,}/, '$1-TIME');
}

/** Half-written files that a killed run left under the lab's folder. */
function leftovers(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (path) => /\.tmp$|\.part-\d+$/.test(path) && existsSync(join(folder, path)),
  );
}

/** It may have ended in this moment. */
function kill({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** A small linear congruential generator: the same seed gives the same moments. */
function randoms(from: number): () => number {
  let state = from;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

const test = suite('a chain that is killed');

test(`ten times, and run again, ends as an undisturbed one (HOMELAB_SEED=${seed})`, async () => {
  const undisturbed = await start();
  const killed = await start();
  try {
    const began = performance.now();
    const whole = await up(undisturbed).ended;
    assert.is(whole.code, 0, whole.output);
    const length = performance.now() - began;

    const random = randoms(seed);
    for (let done = 0; done < KILLS; done++) {
      // Each run gets at most a third of the way, so that the ten moments are spread over the whole chain.
      const { child, ended } = up(killed);
      const timer = setTimeout(() => kill(child), 300 + random() * (length / 3));
      await ended;
      clearTimeout(timer);
    }
    const last = await up(killed).ended;
    assert.is(last.code, 0, last.output);
    // What a killed run had going on a host ends by itself, within the deadlines of its mounts; until then nobody takes it away.
    for (let i = 0; i < 90 && underWay(killed); i++) await new Promise((done) => setTimeout(done, 1000));
    assert.equal(outcome(killed), outcome(undisturbed));
    assert.equal(leftovers(killed.workspace.folder), []);

    const again = await up(killed).ended;
    assert.is(again.code, 0, again.output);
    assert.is(again.output.match(/nothing to do/g)?.length, 7, again.output);
  } finally {
    await killed.close();
    await undisturbed.close();
  }
});

test.run();
