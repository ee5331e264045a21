import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { TOOLKIT } from '../lib/paths.ts';
import { judge, select } from './run.ts';

const FOLDER = join(TOOLKIT, 'test');
const test = suite('tests of tests');

test('every test file is run, runs its suites, and keeps none to itself', () => {
  const files = readdirSync(FOLDER, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.test.ts'));
  assert.equal(
    select(FOLDER, []),
    files.sort().map((name) => join(FOLDER, name)),
  );
  for (const name of files) {
    const text = readFileSync(join(FOLDER, name), 'utf8');
    const suites = [
      ...text.matchAll(/^const (\w+) = suite(?:<.*>)?\(/gm),
      ...text.matchAll(/^const \{ (\w+), test \} = await labSuite\(/gm),
    ].map(([, variable]) => variable);
    assert.ok(suites.length > 0 || /^test\.run\(\)/m.test(text), `${name} has no suite`);
    for (const variable of suites) assert.match(text, `\n${variable}.run();`, `${name}: ${variable}.run() is missing`);
    assert.not.match(text, /^\w+\.only\(/m, `${name} runs a part of itself only`);
  }
});

test('words select files by name', () => {
  const names = (...words: string[]): string[] => select(FOLDER, words).map((file) => file.slice(FOLDER.length + 1));
  assert.equal(names('ledger-ip', 'tests-of'), ['ledger-ip.test.ts', 'tests-of-tests.test.ts']);
  assert.equal(names('no such test'), []);
  assert.equal(select(FOLDER, ['/tmp/x.test.ts']), ['/tmp/x.test.ts']);
});

test('what uvu says, and what it amounts to', () => {
  const summary = (total: number, passed: number, skipped: number): string =>
    `\n  Total:     ${total}\n  Passed:    ${passed}\n  Skipped:   ${skipped}\n  Duration:  1ms\n`;
  const cases: [string, number | null, [number, number, number]][] = [
    [summary(3, 3, 0), 0, [3, 0, 0]],
    [summary(3, 2, 1), 1, [2, 1, 1]],
    [summary(3, 3, 0).replaceAll('3', '\u001b[32m3\u001b[39m'), 0, [3, 0, 0]],
    [summary(0, 0, 2), 0, [0, 0, 2]],
    [summary(0, 0, 0), 0, [0, 1, 0]],
    [summary(3, 3, 0), 7, [3, 1, 0]],
    [summary(3, 3, 0), null, [3, 1, 0]],
    ['', 0, [0, 1, 0]],
    ['SyntaxError', 1, [0, 1, 0]],
  ];
  for (const [output, code, [passed, failed, skipped]] of cases) {
    const { why: _, ...verdict } = judge(output, code);
    assert.equal(verdict, { passed, failed, skipped }, output);
  }
});

/** Runs files of that content, in a folder of their own. */
function runFiles(files: Record<string, string>): { status: number | null; stdout: string } {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
  const uvu = `import { test } from '${join(TOOLKIT, 'node_modules/uvu/dist/index.mjs')}';\n`;
  try {
    const paths = Object.entries(files).map(([name, text]) => {
      const path = join(folder, `${name}.test.ts`);
      writeFileSync(path, text.replace('UVU', uvu).replaceAll('FOLDER', folder));
      return path;
    });
    return spawnSync(process.execPath, ['--import', 'tsx', join(FOLDER, 'run.ts'), ...paths], {
      ...{ cwd: TOOLKIT, encoding: 'utf8' },
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test('a file that runs no test fails; so does one that ends early', () => {
  const files = {
    good: "UVUtest('a', () => {});\ntest.run();",
    forgotten: "UVUtest('a', () => {});",
    empty: 'UVUtest.run();',
    early: "UVUtest('a', () => new Promise(() => {}));\ntest.run();",
    exits: "UVUtest('a', () => process.exit(0));\ntest.run();",
    broken: "import './no-such-file.ts';",
    bad: "UVUtest('a', () => { throw new Error('bad'); });\ntest('b', () => {});\ntest.run();",
  };
  const { status, stdout } = runFiles(files);
  assert.is(status, 1);
  for (const name of Object.keys(files))
    assert.is([...stdout.matchAll(new RegExp(`^${name === 'good' ? '✓' : '✗'} ${name} .*passed`, 'gm'))].length, 1);
  assert.is(stdout.trimEnd().split('\n').at(-1), '2 passed, 6 failed, 0 skipped');
});

test('few that failed beside others are run once more, alone, and that is said', () => {
  const { status, stdout } = runFiles({
    good: "UVUtest('a', () => {});\ntest.run();",
    once: `import { existsSync, writeFileSync } from 'node:fs';
UVUtest('a', () => {
  const was = existsSync('FOLDER/was');
  writeFileSync('FOLDER/was', '');
  if (!was) throw new Error('the first time');
});
test.run();`,
  });
  assert.is(status, 0, stdout);
  assert.match(stdout, 'the first time');
  assert.match(stdout, /^✗ once .*^✓ once /ms);
  assert.match(stdout, /^! once: passed only when nothing ran beside it\n2 passed, 0 failed, 0 skipped$/m);

  const always = runFiles({
    good: "UVUtest('a', () => {});\ntest.run();",
    bad: "UVUtest('a', () => { throw new Error('bad'); });\ntest.run();",
  });
  assert.is(always.status, 1);
  assert.is([...always.stdout.matchAll(/^✗ bad .*passed/gm)].length, 2);
  assert.match(always.stdout, /^✗ bad: 1 failed\n1 passed, 1 failed, 0 skipped$/m);
});

test.run();
