import * as fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type ApplyContext, apply, type Operation, type StepResult } from '../lib/apply.ts';
import { HomelabError } from '../lib/errors.ts';
import type { Event } from '../lib/journal.ts';
import { emptyLockFile, LockStore } from '../lib/ledger/lockfile.ts';
import type { Ports } from '../lib/ports/types.ts';
import { Secrets } from '../lib/secret.ts';
import type { Action, Step } from '../lib/step.ts';
import { fakePorts } from './fixtures/ports.ts';

const SECRET = 'correct horse battery staple';

type World = ApplyContext & { journaled: Event[] };

function world(ports: Ports, operations?: Record<string, Operation>): World {
  const secrets = new Secrets();
  secrets.add('TOKEN', SECRET);
  const journaled: Event[] = [];
  const lock = new LockStore(emptyLockFile('small'), 'homelab.lock.yaml', { write: () => Promise.resolve() });
  const journal = { write: (event: Event) => void journaled.push(event), close() {} };
  return { ports, secrets, journal, journaled, secretsFolder: '/state/secrets', lock, operations };
}

function step(id: string, action: Action, rest: Partial<Step> = {}): Step {
  return { id, title: `do ${id}`, why: 'absent', action, ...rest };
}

/** A step that is the operation of its own name. */
function work(id: string, rest: Partial<Step> = {}, deadline = 5): Step {
  return step(id, { kind: 'operation', name: id.replace(/\d+$/, ''), args: { id }, deadline }, rest);
}

function run(context: World, ...steps: Step[]): Promise<StepResult[]> {
  return apply({ steps, notes: [] }, context);
}

function outcomes(results: readonly StepResult[]): string {
  return [...results]
    .sort((a, b) => (a.id < b.id ? -1 : 1))
    .map(({ id, outcome }) => `${id} ${outcome}`)
    .join(', ');
}

const order = suite('apply: what runs when');

/** Operations that note when they begin and end; `bad` ones fail. */
function recorded(): { operations: Record<string, Operation>; log: string[]; most: () => number } {
  const log: string[] = [];
  let running = 0;
  let most = 0;
  const operation =
    (fails: boolean): Operation =>
    async ({ id }) => {
      log.push(`+${id}`);
      most = Math.max(most, ++running);
      await new Promise((done) => setImmediate(done));
      running--;
      log.push(`-${id}`);
      if (fails) throw new HomelabError(`${id} is bad`);
      return undefined;
    };
  return { operations: { good: operation(false), bad: operation(true) }, log, most: () => most };
}

order('independent steps run side by side, dependent ones one after another', async () => {
  const { operations, log } = recorded();
  const steps = [work('good3', { after: ['good1', 'good2'] }), work('good1'), work('good2')];
  await run(world(fakePorts(), operations), ...steps);
  assert.equal(log, ['+good1', '+good2', '-good1', '-good2', '+good3', '-good3']);
});

order('steps of one lane never run side by side; other lanes go on', async () => {
  const { operations, log } = recorded();
  const lanes = ['a', 'a', 'b', 'b'].map((lane, i) => work(`good${i}`, { lane }));
  await run(world(fakePorts(), operations), ...lanes);
  const lane = (...ids: string[]): string => log.filter((entry) => ids.includes(entry.slice(1))).join(' ');
  assert.is(lane('good0', 'good1'), '+good0 -good0 +good1 -good1');
  assert.is(lane('good2', 'good3'), '+good2 -good2 +good3 -good3');
  assert.ok(log.indexOf('+good2') < log.indexOf('-good0'));
});

order('no more than 16 at once', async () => {
  const { operations, most } = recorded();
  const results = await run(world(fakePorts(), operations), ...Array.from({ length: 50 }, (_, i) => work(`good${i}`)));
  assert.is(results.length, 50);
  assert.is(most(), 16);
});

order('a failure skips what is after it, and the rest goes on', async () => {
  const { operations, log } = recorded();
  const steps = [
    work('bad1'),
    work('good2', { after: ['bad1'] }),
    work('good3', { after: ['good2'] }),
    work('good4'),
    work('good5', { after: ['good4'] }),
  ];
  const context = world(fakePorts(), operations);
  const results = await run(context, ...steps);
  assert.is(outcomes(results), 'bad1 failed, good2 skipped, good3 skipped, good4 done, good5 done');
  assert.not(log.includes('+good2'));
  const failed = context.journaled.find((event) => event.event === 'step-end' && event.id === 'bad1');
  assert.is(failed?.event === 'step-end' && failed.error, 'bad1 is bad');
});

order('a lane is free again after a failure', async () => {
  const { operations } = recorded();
  const results = await run(world(fakePorts(), operations), work('bad1', { lane: 'a' }), work('good2', { lane: 'a' }));
  assert.is(outcomes(results), 'bad1 failed, good2 done');
});

order('whatever the plan: once each, in order, lanes apart, failures skip exactly what is after them', async () => {
  const node = fc.record({
    after: fc.array(fc.nat(), { maxLength: 3 }),
    lane: fc.option(fc.constantFrom('a', 'b')),
    bad: fc.nat(4),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(node, { maxLength: 14 }), async (nodes) => {
      const { operations, log } = recorded();
      const ids = nodes.map(({ bad }, i) => `${bad === 0 ? 'bad' : 'good'}${i}`);
      const steps = nodes.map(({ after, lane }, i) =>
        work(ids[i]!, { after: i === 0 ? [] : [...new Set(after.map((n) => ids[n % i]!))], lane: lane ?? undefined }),
      );
      const results = new Map((await run(world(fakePorts(), operations), ...steps)).map((r) => [r.id, r.outcome]));
      assert.is(results.size, steps.length);
      for (const { id, after = [] } of steps) {
        const blocked = after.some((before) => results.get(before) !== 'done');
        assert.is(results.get(id), blocked ? 'skipped' : id.startsWith('bad') ? 'failed' : 'done');
        if (!blocked) for (const before of after) assert.ok(log.indexOf(`-${before}`) < log.indexOf(`+${id}`));
      }
      for (const lane of ['a', 'b']) {
        const own = log.filter((entry) => steps.some((s) => s.lane === lane && s.id === entry.slice(1)));
        own.forEach((entry, i) => void assert.is(entry.startsWith('+'), i % 2 === 0, `lane ${lane}: ${own}`));
      }
    }),
    { numRuns: 60 },
  );
});

order('what does not end is given up', async () => {
  const operations = { hang: () => new Promise<undefined>(() => undefined) };
  // The interpreter's own deadline is 20 s after the step's.
  const [result] = await run(world(fakePorts(), operations), work('hang', {}, -19.95));
  assert.match(String(result?.error), /^DeadlineError: do hang: not within 0\.05/);
});

const acts = suite('apply: what steps do');

acts('a program gets argv, environment and stdin; its trimmed output is what later steps refer to', async () => {
  const calls: unknown[] = [];
  const ports = fakePorts({
    exec: {
      run: async (argv, options) => {
        calls.push({ argv, env: options?.env, stdin: options?.stdin });
        return { code: 0, stdout: ' out of the first\n', stderr: '' };
      },
    },
  });
  const first = step('a', {
    ...{ kind: 'run', argv: ['first', '--flag'], deadline: 5 },
    env: { TOKEN: { secret: 'TOKEN' } },
    stdin: { join: ['token=', { secret: 'TOKEN' }] },
  });
  const second = step(
    'b',
    { kind: 'run', argv: ['second', { join: ['<', { from: 'a' }, '>'] }], deadline: 5 },
    { after: ['a'] },
  );
  const context = world(ports);
  assert.is(outcomes(await run(context, first, second)), 'a done, b done');
  assert.equal(calls, [
    { argv: ['first', '--flag'], env: { TOKEN: SECRET }, stdin: `token=${SECRET}` },
    { argv: ['second', '<out of the first>'], env: {}, stdin: undefined },
  ]);
  assert.not.match(JSON.stringify(context.journaled), SECRET);
});

acts('a program that fails: its exit code, and the end of what it said', async () => {
  const outcome = { code: 3, stdout: 'ignored', stderr: Array.from({ length: 40 }, (_, i) => `line ${i}`).join('\n') };
  const ports = fakePorts({ exec: { run: async () => outcome }, ssh: { run: async () => outcome } });
  const results = await run(
    world(ports),
    step('a', { kind: 'run', argv: ['terraform', 'apply'], deadline: 5 }),
    step('b', { kind: 'remote', host: 'cp-01', argv: ['systemctl', 'start', 'k3s'], deadline: 5 }),
  );
  assert.equal(
    results.map(({ error }) => error instanceof HomelabError && [error.message, error.output?.split('\n')[0]]),
    [
      ['terraform ended with exit code 3', 'line 25'],
      ['systemctl on cp-01 ended with exit code 3', 'line 25'],
    ],
  );
});

acts('a secret that is missing fails its step, with what to do', async () => {
  const [result] = await run(
    world(fakePorts()),
    step('a', { kind: 'run', argv: ['x', { secret: 'NONE' }], deadline: 5 }),
  );
  assert.ok(result?.error instanceof HomelabError);
  assert.equal([result.error.message, result.error.fix], ['the secret NONE is not set', 'add NONE=… to .env']);
});

acts('a secret of the lab is made once, kept at 0600, and can be referred to', async () => {
  const written: unknown[] = [];
  const uploads: string[] = [];
  const ports = fakePorts({
    files: { write: async (path, content, mode) => void written.push([path, String(content).length, mode]) },
    ssh: { upload: async (_host, _path, content) => void uploads.push(String(content)) },
  });
  const context = world(ports);
  await run(
    context,
    step('token', { kind: 'secret', name: 'k3s-token', bytes: 16 }),
    step(
      'config',
      { kind: 'upload', host: 'cp-01', path: '/x', content: { secret: 'k3s-token' }, mode: '0600' },
      { after: ['token'] },
    ),
  );
  assert.equal(written, [['/state/secrets/k3s-token', 32, 0o600]]);
  assert.equal(uploads, [context.secrets.get('k3s-token')?.reveal()]);
  assert.not.match(JSON.stringify(context.journaled), uploads[0]!);
});

acts('a file of this machine is uploaded by its name: the port streams it', async () => {
  const uploads: unknown[] = [];
  const ports = fakePorts({ ssh: { upload: async (...call) => void uploads.push(call) } });
  const content = { file: '/cache/images.tar.zst', sha256: 'f'.repeat(64) };
  await run(world(ports), step('a', { kind: 'upload', host: 'cp-01', path: '/x', content, mode: '0644', deadline: 9 }));
  assert.equal(uploads, [['cp-01', '/x', content, { mode: '0644', owner: undefined, sudo: true, deadline: 9 }]]);
});

acts('a download is compared with the hash that was recorded, and recorded', async () => {
  const expected: unknown[] = [];
  const ports = fakePorts({
    net: {
      download: async (_url, _to, options) => {
        expected.push(options?.sha256);
        return 'f'.repeat(64);
      },
    },
  });
  const context = world(ports);
  const get = (id: string, after: string[] = []): Step =>
    step(id, { kind: 'download', url: 'https://get.k3s.io/', to: '/tmp/x', deadline: 5 }, { after });
  await run(context, get('a'), get('b', ['a']));
  assert.equal(expected, [undefined, 'f'.repeat(64)]);
  assert.equal(context.lock.value.downloads, { 'https://get.k3s.io/': 'f'.repeat(64) });
});

acts('objects are applied with their secrets, again while a webhook does not serve yet', async () => {
  const applied: unknown[] = [];
  let refusals = 2;
  const ports = fakePorts({
    kube: {
      apply: async (objects) => {
        if (refusals-- > 0) throw new HomelabError('Internal error: failed calling webhook "x": connection refused');
        applied.push(...objects);
      },
      delete: async (refs) => void applied.push(...refs),
    },
  });
  const secret = { apiVersion: 'v1', kind: 'Secret', metadata: { name: 's', namespace: 'n' } };
  const context = world(ports);
  await run(
    context,
    step('a', { kind: 'kube', verb: 'apply', objects: [secret], secrets: { key: { secret: 'TOKEN' } }, deadline: 5 }),
    step('b', { kind: 'kube', verb: 'delete', objects: [secret], deadline: 5 }, { after: ['a'] }),
  );
  const { name, namespace } = secret.metadata;
  assert.equal(applied, [
    { ...secret, stringData: { key: SECRET } },
    { apiVersion: 'v1', kind: 'Secret', name, namespace },
  ]);
  assert.not.match(JSON.stringify(context.journaled), SECRET);
});

acts('an object that is refused for what it is fails at once', async () => {
  let calls = 0;
  const ports = fakePorts({
    kube: {
      apply: async () => {
        calls++;
        throw new HomelabError('spec.foo: field not declared in schema');
      },
    },
  });
  const [result] = await run(world(ports), step('a', { kind: 'kube', verb: 'apply', objects: [], deadline: 5 }));
  assert.equal([result?.outcome, calls], ['failed', 1]);
});

acts('a task of Proxmox is what later steps refer to; a wait changes nothing', async () => {
  const ports = fakePorts({
    pve: { call: async () => 'UPID:pve-01:1' },
    exec: { run: async (argv) => ({ code: 0, stdout: argv.join(' '), stderr: '' }) },
    ssh: { reachable: async () => ({ ok: true, value: true }) },
  });
  const results = await run(
    world(ports),
    step('start', { kind: 'pve', method: 'POST', path: '/nodes/pve-01/qemu/200/status/start', deadline: 5 }),
    step('wait', { kind: 'wait', for: { ssh: 'cp-01' }, deadline: 5 }, { after: ['start'] }),
    step('log', { kind: 'run', argv: ['echo', { from: 'start' }], deadline: 5 }, { after: ['start'] }),
    step('bad', { kind: 'run', argv: ['echo', { from: 'wait' }], deadline: 5 }, { after: ['wait'] }),
  );
  assert.equal(results.map(({ id, outcome, changed }) => `${id} ${outcome} ${changed}`).sort(), [
    'bad failed true',
    'log done true',
    'start done true',
    'wait done false',
  ]);
});

order.run();
acts.run();
