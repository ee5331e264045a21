import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type Args, command, main, type Script } from '../lib/main.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { takeLock } from '../lib/run-lock.ts';
import type { Plan } from '../lib/step.ts';
import { captured } from './fixtures/capture.ts';
import { smallText } from './fixtures/lab.ts';

const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
const config = join(folder, 'homelab.yaml');
const state = join(folder, '.state', 'small');
const target = join(folder, 'greeting');
writeFileSync(config, smallText());

type GreetArgs = Args & { name?: string; loud: boolean };
type Seen = { text?: string };

/** Writes a file once; with `--loud` it destroys what is there. */
const greet: Script<Seen, GreetArgs> = {
  name: 'greet',
  summary: 'Writes a greeting',
  arguments: [{ name: '[name]', description: 'who is greeted' }],
  options: [
    { flags: '--loud', description: 'overwrite', default: false },
    { flags: '--tone <tone>', description: 'how', choices: ['warm', 'cold'], default: 'warm' },
  ],
  observe: async (_lab, { files }) => ({ text: await files.text(target) }),
  plan: (_lab, seen, { name = 'world', loud }): Plan => {
    if (name === 'nobody')
      return {
        steps: [],
        notes: [{ level: 'blocker', text: 'nobody is there', fix: 'name somebody: npx tsx scripts/greet.ts ann' }],
      };
    if (seen.text !== undefined && !loud) return { steps: [], notes: [] };
    const destroys = seen.text === undefined ? undefined : [target];
    const action = { kind: 'write', path: target, content: `hello ${name}` } as const;
    return {
      steps: [{ id: 'write', title: 'write the greeting', why: 'absent', host: 'cp-01', destroys, action }],
      notes: [],
    };
  },
  verify: async (_lab, { files }) => [
    { claim: 'it is there', ok: (await files.text(target)) !== undefined, detail: target },
  ],
  report: (_lab, seen) => ({ text: `was ${seen.text ?? 'nothing'}`, data: { was: seen.text } }),
};
const family = {
  name: 'words',
  summary: 'Says words',
  commands: [command(greet), command({ ...greet, name: 'release', verify: undefined })],
};

/** Runs as on a terminal, where an answer is typed when a question is asked. */
async function typing(answers: string[], run: () => Promise<number>): Promise<Ran> {
  const stdin = Object.assign(new PassThrough(), { isTTY: true });
  const real = Object.getOwnPropertyDescriptor(process, 'stdin');
  Object.defineProperty(process, 'stdin', { value: stdin, configurable: true });
  try {
    return await captured(run, (text) => {
      if (/^type .*: $/.test(text)) stdin.write(`${answers.shift()}\n`);
    });
  } finally {
    if (real) Object.defineProperty(process, 'stdin', real);
  }
}

type Ran = { code: number; stdout: string; stderr: string };
function run(...argv: string[]): Promise<Ran> {
  return captured(() => main(greet, argv));
}

const calls = suite('calls');

calls('that are wrong exit with 2, and say what was meant', async () => {
  const cases: [string[], RegExp][] = [
    [['--dry-rum'], /unknown option '--dry-rum'\n\(Did you mean --dry-run\?\)/],
    [['--jason'], /unknown option '--jason'\n\(Did you mean --json\?\)/],
    [['-x'], /unknown option '-x'/],
    [['--dry-run=0'], /unknown option '--dry-run=0'/],
    [['--tone', 'loud'], /argument 'loud' is invalid\. Allowed choices are warm, cold/],
    [['--config'], /option '--config <file>' argument missing/],
    [['a', 'b'], /too many arguments\. Expected 1 argument but got 2/],
    [['--config', 'nowhere.yaml'], /error: nowhere\.yaml: there is no such file\nto fix: copy the homelab\.yaml/],
    [['--config', config, '--limit', 'cp-1'], /--limit cp-1: there is no such host; did you mean "cp-01"\?/],
    [['--config', config, '--limit', 'x,cp-01,y'], /--limit x: .*\n--limit y: /],
  ];
  for (const [argv, said] of cases) {
    const { code, stdout, stderr } = await run(...argv);
    assert.is(code, 2, argv.join(' '));
    assert.match(stderr, said);
    assert.is(stdout, '');
  }
  assert.not(existsSync(state), 'nothing was started');
});

calls('that are wrong print one JSON document where --json asks for it', async () => {
  for (const argv of [['--config', 'nowhere.yaml'], ['--dry-rum'], ['--config', config, '--limit', 'cp-1']]) {
    const { code, stdout } = await run('--json', ...argv);
    assert.is(code, 2);
    const { error, ...rest } = JSON.parse(stdout);
    assert.equal(rest, { script: 'greet', applied: [], proofs: [], exit: 2 });
    assert.match(error, /nowhere|dry-rum|cp-1/);
  }
});

calls('of a family: unknown commands get a suggestion, none is an error', async () => {
  const cases: [string[], RegExp][] = [
    [['relese'], /unknown command 'relese'\n\(Did you mean release\?\)/],
    [[], /Usage: words/],
    [['greet', '--dry-rum'], /Did you mean --dry-run\?/],
    [
      ['greet', '--config', config, 'ann', 'release'],
      /too many arguments for 'greet'[\s\S]*\nto fix: release is a command of its own: npx tsx scripts\/words\.ts release\n$/,
    ],
    [['greet', 'ann', 'bob'], /too many arguments for 'greet'.*\n\(--help says what there is\)\n$/],
  ];
  for (const [argv, said] of cases) {
    const { code, stderr } = await captured(() => main(family, argv));
    assert.is(code, 2, argv.join(' '));
    assert.match(stderr, said);
  }
});

calls('for help exit with 0, on stdout, and name every flag', async () => {
  const { code, stdout, stderr } = await run('--help');
  assert.equal([code, stderr], [0, '']);
  for (const flag of [
    'config',
    'dry-run',
    'check',
    'json',
    'limit',
    'yes',
    'confirm',
    'verbose',
    'help',
    'loud',
    'tone',
  ])
    assert.match(stdout, `--${flag}`);
  assert.is((await captured(() => main(family, ['greet', '--help']))).code, 0);
  assert.not.match(stdout, /default: (false|all\))/);
});

calls('a secret that is missing: exit 2 before anything starts', async () => {
  const script = { ...greet, secrets: () => ['PROXMOX_TOKEN_SECRET'] };
  const { code, stderr } = await captured(() => main(script, ['--config', config]));
  assert.is(code, 2);
  assert.match(stderr, `${join(folder, '.env')}: PROXMOX_TOKEN_SECRET is missing`);
  assert.not(existsSync(state));
});

const beats = suite('observe, plan, apply, verify');
beats.before.each(() => {
  rmSync(target, { force: true });
  rmSync(state, { recursive: true, force: true });
});

beats('--dry-run shows and changes nothing; --check says so with 3', async () => {
  const dry = await run('--config', config, '--dry-run');
  assert.equal([dry.code, existsSync(target), existsSync(state)], [0, false, false]);
  assert.is(dry.stdout, 'greet: 1 step\n  + cp-01: write the greeting  (absent)\nwas nothing\n');
  const check = await run('--config', config, '--check');
  assert.equal([check.code, existsSync(target), existsSync(state)], [3, false, false]);
});

beats('a run changes, proves, reports; a second one has nothing to do', async () => {
  const first = await run('--config', config, 'ann');
  assert.equal([first.code, readFileSync(target, 'utf8')], [0, 'hello ann']);
  assert.is(first.stdout, 'was nothing\n');
  assert.match(
    first.stderr,
    /✓ cp-01: write the greeting .*\n✓ it is there: .*\ngreet: 1 change; 1 of 1 proofs hold\n$/,
  );
  const second = await run('--config', config);
  assert.equal([second.code, second.stdout], [0, 'was hello ann\n']);
  assert.match(second.stderr, 'greet: nothing to do; 1 of 1 proofs hold');
  assert.is((await run('--config', config, '--check')).code, 0);
  assert.not(existsSync(join(state, 'lock')), 'the lock was given back');
  assert.is(readdirSync(join(state, 'runs')).length, 2, 'a journal a run that may change something');
});

beats('--json is one document on stdout', async () => {
  const { code, stdout } = await run('--config', config, '--json');
  const { script, lab, plan, applied, proofs, report, exit } = JSON.parse(stdout);
  assert.equal([code, script, lab, exit, report], [0, 'greet', 'small', 0, {}]);
  assert.equal([plan.steps.length, applied[0].outcome, proofs[0].ok], [1, 'done', true]);
});

beats('--limit leaves other hosts out', async () => {
  const { code, stderr } = await run('--config', config, '--limit', 'gpu-01');
  assert.match(stderr, 'note: --limit leaves out 1 step');
  assert.equal([code, existsSync(target)], [1, false], 'and the proof fails');
  assert.match(stderr, '✗ it is there');
});

beats('a blocker stops before anything changes: 1, and 3 with --check', async () => {
  const { code, stderr } = await run('--config', config, 'nobody');
  assert.is(code, 1);
  assert.match(stderr, 'blocker: nobody is there; name somebody');
  assert.match(stderr, 'greet: nothing was changed; first put right what blocks it\n');
  assert.is((await run('--config', config, 'nobody', '--check')).code, 3);
});

beats('a command that it names would be for the lab of this folder: it says what makes it this one', async () => {
  const reminder = `(for this lab, add --config ${config} to the commands that are named here)`;
  for (const more of [[], ['--dry-run']])
    assert.match((await run('--config', config, 'nobody', ...more)).stderr, reminder, more.join());
  assert.not.match((await run('--config', config, 'ann', '--dry-run')).stderr, 'add --config');
  const here = process.cwd();
  process.chdir(folder);
  try {
    assert.not.match((await run('nobody')).stderr, 'add --config');
  } finally {
    process.chdir(here);
  }
});

beats('nothing is destroyed without the name of the lab', async () => {
  writeFileSync(target, 'dear');
  for (const confirm of [[], ['--yes'], ['--confirm', 'smal']]) {
    const { code, stderr } = await run('--config', config, '--loud', ...confirm);
    assert.equal([code, readFileSync(target, 'utf8')], [2, 'dear'], confirm.join(' '));
    assert.match(stderr, `is lost: ${target}`);
    assert.match(stderr, 'to fix: give --confirm small when that is wanted');
  }
  const { code } = await run('--config', config, '--loud', '--confirm', 'small');
  assert.equal([code, readFileSync(target, 'utf8')], [0, 'hello world']);
});

beats(
  'a step may ask for other names than the lab: each must be given, and what was not asked for is said',
  async () => {
    writeFileSync(target, 'dear');
    const named: Script<Seen, GreetArgs> = {
      ...greet,
      plan: (...given) => {
        const { steps, notes } = greet.plan(...given);
        return { steps: steps.map((step) => ({ ...step, confirm: ['cp-01', 'cp-02'] })), notes };
      },
    };
    const call = (...argv: string[]): Promise<Ran> =>
      captured(() => main(named, ['--config', config, '--loud', ...argv]));
    const refusals: [string[], string][] = [
      [[], 'give --confirm cp-01,cp-02 when'],
      [['--confirm', 'small'], 'give --confirm cp-01,cp-02 when'],
      [['--confirm', 'cp-02'], 'give --confirm cp-01,cp-02 when'],
      [['--confirm', 'cp-01,cp-03'], 'give --confirm cp-01,cp-02 when'],
    ];
    for (const [argv, fix] of refusals) {
      const { code, stderr } = await call(...argv);
      assert.equal([code, readFileSync(target, 'utf8')], [2, 'dear'], argv.join(' '));
      assert.match(stderr, fix);
    }
    assert.match((await call('--confirm', 'cp-01,cp-03')).stderr, 'note: --confirm cp-03 was not asked for');
    assert.is((await call('--confirm', 'cp-01', '--confirm', 'cp-02')).code, 0);
    writeFileSync(target, 'dear');
    assert.is((await call('--confirm', 'cp-02,cp-01')).code, 0);
  },
);

beats('on a terminal each name is typed; a wrong one ends it', async () => {
  const named = {
    ...greet,
    plan: (...given: Parameters<typeof greet.plan>): Plan => {
      const { steps, notes } = greet.plan(...given);
      return { steps: steps.map((step) => ({ ...step, confirm: ['cp-01', 'small'] })), notes };
    },
  };
  const cases: [answers: string[], code: number][] = [
    [['cp-01', 'small'], 0],
    [['cp-01', 'cp-01'], 2],
    [['y', 'small'], 2],
  ];
  for (const [answers, expected] of cases) {
    writeFileSync(target, 'dear');
    const [first] = answers;
    const { code, stderr } = await typing(answers, () => main(named, ['--config', config, '--loud']));
    assert.is(code, expected, stderr);
    assert.match(stderr, 'type cp-01 to destroy what is listed: ');
    assert.is(stderr.includes("type the lab's name (small) to destroy"), first === 'cp-01');
    assert.is(readFileSync(target, 'utf8'), expected === 0 ? 'hello world' : 'dear');
  }
});

beats('somebody else holds the lock: 75; a dry run does not mind', async () => {
  const lock = takeLock(state, 'provision');
  // Our own process number counts as left over from before a restart, so the holder is a process that lives: init.
  const file = join(state, 'lock');
  writeFileSync(file, JSON.stringify({ ...JSON.parse(readFileSync(file, 'utf8')), pid: 1 }));
  const { code, stderr } = await run('--config', config);
  assert.equal([code, existsSync(target)], [75, false]);
  assert.match(stderr, 'the lab is locked: provision of');
  assert.is((await run('--config', config, '--dry-run')).code, 0);
  lock.release();
});

beats('a step that fails: 1, what failed, where, and how to go on', async () => {
  const broken: Script<Seen, GreetArgs> = {
    ...greet,
    plan: () => ({
      notes: [],
      steps: [
        {
          id: 'a',
          title: 'run it',
          why: 'absent',
          host: 'cp-01',
          action: { kind: 'run', argv: ['/bin/sh', '-c', 'echo no space left >&2; exit 4'], deadline: 5 },
        },
        { id: 'b', title: 'go on', why: 'absent', after: ['a'], action: { kind: 'write', path: target, content: '' } },
      ],
    }),
  };
  const { code, stderr } = await captured(() => main(broken, ['--config', config]));
  assert.equal([code, existsSync(target)], [1, false]);
  const said = [
    '✗ cp-01: run it',
    'error: /bin/sh ended with exit code 4\n  | no space left',
    '0 done, 1 failed, 1 skipped',
  ];
  for (const text of said) assert.ok(stderr.includes(text), stderr);
  assert.match(
    stderr,
    /journal: .*-greet-\d+\.jsonl\nto go on from here, correct the cause and run the same command again/,
  );
});

beats('a defect is shown with its stack, and gives the lock back', async () => {
  const broken = { ...greet, observe: () => Promise.reject(new TypeError('x is undefined')) };
  const { code, stderr } = await captured(() => main(broken, ['--config', config]));
  assert.is(code, 1);
  assert.match(stderr, /defect: TypeError: x is undefined\n +at /);
  assert.not(existsSync(join(state, 'lock')));
});

const entry = suite('a script that is run');
entry.after(() => rmSync(folder, { recursive: true }));

entry('is the program only when it is the entry point', () => {
  const script = join(folder, 'hello.ts');
  const body = `export default defineScript(import.meta.url, { name: 'hello', summary: 'x', observe: async () => 1, plan: () => ({ steps: [], notes: [] }) });`;
  writeFileSync(script, `import { defineScript } from '${join(TOOLKIT, 'lib/main.ts')}';\n${body}\n`);
  writeFileSync(join(folder, 'imports.ts'), `import hello from './hello.ts';\nconsole.log(hello.name);\n`);
  const start = (file: string, ...argv: string[]) =>
    spawnSync(process.execPath, ['--import', 'tsx', join(folder, file), ...argv], { cwd: TOOLKIT, encoding: 'utf8' });
  assert.match(start('hello.ts', '--help').stdout, /^Usage: hello \[options\]/);
  assert.is(start('hello.ts', '--nonsense').status, 2);
  assert.equal([start('imports.ts').stdout, start('imports.ts').status], ['hello\n', 0]);
});

calls.run();
beats.run();
entry.run();
