import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { HomelabError } from '../lib/errors.ts';
import { type Args, command, main, type Script } from '../lib/main.ts';
import type { Call, Outcome, OutcomeHook } from '../lib/outcome.ts';
import type { Plan } from '../lib/step.ts';
import { captured } from './fixtures/capture.ts';
import { smallText } from './fixtures/lab.ts';

/** Who is told how a run of a script ended, and what a quiet one says. */
const test = suite('outcome');
const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
const config = join(folder, 'homelab.yaml');
test.before.each(() => writeFileSync(config, smallText()));
test.after(() => rmSync(folder, { recursive: true }));

let told: { started: Call[]; ended: [Call, Outcome][] };
let hook: OutcomeHook;
test.before.each(() => {
  told = { started: [], ended: [] };
  hook = {
    started: async (call) => void told.started.push(call),
    ended: async (call, outcome) => void told.ended.push([call, outcome]),
  };
});

/** Does what it is told to: `steps`, `fail`, `blocked`, `throw`, `disprove`. */
const doing: Script<undefined, Args & { what?: string }> = {
  name: 'do',
  summary: 'Does it',
  arguments: [{ name: '[what]', description: 'what happens' }],
  lock: 'none',
  outcome: async () => hook,
  observe: async (_lab, _readers, { what }) => {
    if (what === 'throw') throw new HomelabError('it cannot be seen', { fix: 'look closer' });
    return undefined;
  },
  plan: (_lab, _seen, { what }): Plan => {
    const step = {
      id: 'a/b',
      title: 'it',
      why: 'asked',
      action: { kind: 'operation', name: 'it', args: {}, deadline: 9 },
    };
    return {
      steps: what === 'fail' || what === 'steps' ? [step as Plan['steps'][number]] : [],
      notes: what === 'blocked' ? [{ level: 'blocker', text: 'no way' }] : [{ level: 'warning', text: 'it is late' }],
    };
  },
  operations: (_lab, { what }) => ({
    it: async () => {
      if (what === 'fail') throw new HomelabError('it broke', { exit: 75 });
      return undefined;
    },
  }),
  verify: async (_lab, _ports, { what }) => [{ claim: 'it holds', ok: what !== 'disprove', detail: '' }],
  report: () => ({ text: 'the report', data: {} }),
};
const family = { name: 'family', summary: 'Does things', commands: [command(doing)] };
const run = (...argv: string[]) => captured(() => main(doing, ['--config', config, ...argv]));

for (const [what, argv, exit, seen] of [
  ['success', ['steps'], 0, (outcome) => outcome.applied[0]?.outcome === 'done' && outcome.proofs[0]?.ok],
  ['a step that failed', ['fail'], 75, (outcome) => outcome.applied[0]?.outcome === 'failed'],
  ['a blocker', ['blocked'], 1, (outcome) => outcome.plan?.notes[0]?.text === 'no way'],
  ['a look that failed', ['throw'], 1, (outcome) => String(outcome.error).includes('it cannot be seen')],
  ['a proof that does not hold', ['disprove'], 1, (outcome) => outcome.proofs[0]?.ok === false],
] as [string, string[], number, (outcome: Outcome) => boolean][])
  test(`${what} is told, once, by one id`, async () => {
    assert.is((await run(...argv)).code, exit);
    assert.is(told.started.length, 1);
    assert.is(told.ended.length, 1);
    const [[call, outcome]] = told.ended as [[Call, Outcome]];
    assert.is(call.id, told.started[0]?.id);
    assert.is(call.opened?.lab.config.name, 'small');
    assert.is(outcome.exit, exit);
    assert.ok(seen(outcome));
  });

for (const [what, argv, broken] of [
  ['an unknown option', ['--frob'], false],
  ['one argument too many', ['steps', 'more'], false],
  ['a homelab.yaml that is wrong', ['steps'], true],
] as [string, string[], boolean][])
  test(`${what} is told, though nothing was opened`, async () => {
    if (broken) writeFileSync(config, 'name: [');
    assert.is((await run(...argv)).code, 2);
    assert.is(told.started.length, 0);
    const [[call, outcome]] = told.ended as [[Call, Outcome]];
    assert.equal([call.opened, outcome.exit, call.flags.config], [undefined, 2, config]);
    assert.ok(outcome.error instanceof Error);
  });

test('the command of a family is told by its whole name; a command that there is not is nobody’s', async () => {
  const call = (...argv: string[]) => captured(() => main(family, argv));
  assert.is((await call('do', '--frob')).code, 2);
  assert.is(told.ended[0]?.[0].script, 'family-do');
  assert.is((await call('undo')).code, 2);
  assert.is(told.ended.length, 1);
});

test('looks and --help are no runs', async () => {
  for (const argv of [['--dry-run'], ['--check'], ['--help'], ['--check', '--frob']]) await run(...argv);
  assert.equal(told, { started: [], ended: [] });
});

for (const [what, argv, exit] of [
  ['success', ['steps'], 0],
  ['failure', ['fail'], 75],
  ['a wrong call', ['--frob'], 2],
] as [string, string[], number][])
  test(`a hook that throws is a warning: ${what} stays what it is`, async () => {
    const broken = async (): Promise<void> => {
      throw new Error('the hook broke');
    };
    hook = { started: broken, ended: broken };
    const { code, stderr } = await run(...argv);
    assert.is(code, exit);
    assert.match(stderr, 'warning: not told: the hook broke');
  });

test('quiet: nothing but warnings when all is well; all that was said when not, and the report with it', async () => {
  assert.equal(await run('steps', '--quiet'), { code: 0, stdout: '', stderr: 'warning: it is late\n' });
  const loud = await run('disprove');
  const quiet = await run('disprove', '--quiet');
  const lines = ({ stderr }: { stderr: string }): string[] =>
    stderr
      .split('\n')
      .filter((line) => !line.startsWith('journal:'))
      .sort();
  assert.equal([quiet.code, quiet.stdout, lines(quiet)], [1, loud.stdout, lines(loud)]);
  const failed = await run('throw', '--quiet');
  assert.match(failed.stderr, /^error: it cannot be seen\nto fix: look closer$/m);
});

test.run();
