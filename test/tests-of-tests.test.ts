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

test('a file that runs no test fails; so does one that ends early', () => {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
  const uvu = `import { test } from '${join(TOOLKIT, 'node_modules/uvu/dist/index.mjs')}';\n`;
  const files: Record<string, string> = {
    good: `${uvu}test('a', () => {});\ntest.run();`,
    forgotten: `${uvu}test('a', () => {});`,
    empty: `${uvu}test.run();`,
    early: `${uvu}test('a', () => new Promise(() => {}));\ntest.run();`,
    exits: `${uvu}test('a', () => process.exit(0));\ntest.run();`,
    broken: `import './no-such-file.ts';`,
    bad: `${uvu}test('a', () => { throw new Error('bad'); });\ntest('b', () => {});\ntest.run();`,
  };
  try {
    const paths = Object.entries(files).map(([name, text]) => {
      const path = join(folder, `${name}.test.ts`);
      writeFileSync(path, text);
      return path;
    });
    const { status, stdout } = spawnSync(process.execPath, ['--import', 'tsx', join(FOLDER, 'run.ts'), ...paths], {
      cwd: TOOLKIT,
      encoding: 'utf8',
    });
    assert.is(status, 1);
    for (const name of Object.keys(files))
      assert.match(stdout, new RegExp(`^${name === 'good' ? '✓' : '✗'} ${name} `, 'm'));
    assert.is(stdout.trimEnd().split('\n').at(-1), '2 passed, 6 failed, 0 skipped');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
