import { strict as assert } from 'node:assert';
import { createHash } from 'node:crypto';
import { suite } from 'uvu';
import { editedNotes, type Generated, type GeneratedSeen, writeSteps } from '../lib/plan/generated.ts';
import { folderNotes, folderSteps, isRead, lockDiffers } from '../lib/plan/terraform-folder.ts';
import { inOrder, type Step } from '../lib/step.ts';
import { labOf } from './provision-fixture.ts';
import { fresh } from './provision-seen.ts';

const test = suite('generated files that a person edited');
const lab = labOf({ leased: true });
const { state } = lab.paths;
const sha256 = (text: string): string => createHash('sha256').update(text).digest('hex');
const path = `${state}/terraform/main.tf`;
const file = (now: string | undefined, more: Partial<Generated> = {}): Generated => ({
  ...{ id: 'w', path, content: 'wanted', now, ...more },
});
const seen = (written: string[], kept: Record<string, string> = {}): GeneratedSeen => ({
  written: written.length > 0 ? { 'terraform/main.tf': written.map(sha256) } : {},
  kept: Object.fromEntries(Object.entries(kept).map(([name, text]) => [`${path}${name}`, sha256(text)])),
});
const ids = (steps: Step[]): string[] => inOrder({ steps, notes: [] }).map(({ id }) => id);
const argvs = (steps: Step[]): unknown[] => steps.flatMap(({ action }) => (action.kind === 'run' ? [action.argv] : []));
const recorded = (steps: Step[]): unknown =>
  steps.flatMap(({ action }) =>
    action.kind === 'write' && action.path === `${state}/generated.json` ? [JSON.parse(String(action.content))] : [],
  )[0];

const KEEP = 'keep terraform/main.tf';
/** What is there, what was written before, what is kept: the steps, and where the person's version is. */
const cases: [string, string | undefined, GeneratedSeen, string[], string?][] = [
  ['absent: written', undefined, seen([]), ['generated', 'w']],
  ['as wanted: nothing', 'wanted', seen([]), []],
  ['as written last: written anew, and nobody is told', 'old', seen(['old']), ['generated', 'w']],
  ['as written by the run before, when the last one ended early', 'older', seen(['old', 'older']), ['generated', 'w']],
  ['edited: kept', 'mine', seen(['old']), [KEEP, 'generated', 'w'], 'main.tf.edited'],
  ['not remembered: kept', 'mine', seen([]), [KEEP, 'generated', 'w'], 'main.tf.edited'],
  ['edited twice: numbered', 'b', seen(['old'], { '.edited': 'a' }), [KEEP, 'generated', 'w'], 'main.tf.edited.2'],
  [
    'edited three times',
    'c',
    seen(['old'], { '.edited': 'a', '.edited.2': 'b' }),
    [KEEP, 'generated', 'w'],
    'main.tf.edited.3',
  ],
  [
    'kept by a run that ended early: once',
    'b',
    seen(['old'], { '.edited': 'b' }),
    ['generated', 'w'],
    'main.tf.edited',
  ],
];

for (const [name, now, known, expected, kept] of cases)
  test(name, () => {
    const steps = writeSteps(lab, known, [file(now)]);
    assert.deepEqual(ids(steps), expected);
    const notes = editedNotes(lab, known, [file(now)], 'it is written anew');
    assert.equal(notes.length, kept ? 1 : 0);
    if (!kept) return;
    assert.match(
      notes[0]!.text,
      /^\.state\/homelab\/terraform\/main\.tf was changed since it was generated; it is wri/,
    );
    assert.ok(notes[0]?.fix?.includes(`is kept as .state/homelab/terraform/${kept};`), notes[0]?.fix);
    if (expected.includes(KEEP)) assert.deepEqual(argvs(steps), [['cp', '-p', path, `${state}/terraform/${kept}`]]);
  });

test('what was written is remembered before it is written, beside what may still be there', () => {
  const steps = writeSteps(lab, { ...seen(['old']), written: { a: ['1'], ...seen(['old']).written } }, [file('old')]);
  assert.deepEqual(recorded(steps), { a: ['1'], 'terraform/main.tf': [sha256('wanted'), sha256('old')] });
  assert.deepEqual(recorded(writeSteps(lab, seen(['old']), [file('mine')])), {
    'terraform/main.tf': [sha256('wanted')],
  });
});
test('the text of an edited file is not in the plan', () => {
  assert.ok(!JSON.stringify(writeSteps(lab, seen([]), [file('a password of mine')])).includes('password'));
});
test('--limit leaves out a file with its record and its copy', () => {
  const hosts = writeSteps(lab, seen([]), [file('mine', { host: 'pve-01' })]).map(({ host }) => host);
  assert.deepEqual(hosts, ['pve-01', 'pve-01', 'pve-01']);
});
test('what grows by itself is no edit', () => {
  assert.deepEqual(ids(writeSteps(lab, seen([]), [file('grown', { grows: true })])), ['generated', 'w']);
});

const VARIABLES = 'homelab.auto.tfvars.json';
const folder = `${state}/terraform`;
const context = { differing: [], variables: VARIABLES };
const terraform = { ...fresh.terraform, folder, initialised: true, files: { [VARIABLES]: 'v' } };
const extra = (name: string, text: string) => ({ path: `${folder}/${name}`, sha256: sha256(text) });

test('a file that a person put into the folder is told, and left', () => {
  const foreign = { terraform: { ...terraform, extra: [extra('override.tf', 'x')] } };
  assert.deepEqual(folderSteps(lab, foreign, context, 'v'), []);
  assert.match(
    folderNotes(lab, foreign, context, 'v')[0]!.text,
    /terraform\/override\.tf is not of this toolkit, and Te/,
  );
});
test('a file of ours that there is no more is removed', () => {
  const generated = { written: { 'terraform/old.tf': [sha256('x')] }, kept: {} };
  const stale = { terraform: { ...terraform, generated, extra: [extra('old.tf', 'x')] } };
  assert.deepEqual(argvs(folderSteps(lab, stale, context, 'v')), [['rm', '-f', `${folder}/old.tf`]]);
  assert.deepEqual(folderNotes(lab, stale, context, 'v'), []);
});
test('an edited file of variables is told and kept', () => {
  const edited = { terraform: { ...terraform, files: { [VARIABLES]: 'mine' } } };
  assert.deepEqual(ids(folderSteps(lab, edited, context, 'v')), [
    `keep terraform/${VARIABLES}`,
    'generated',
    `terraform/${VARIABLES}`,
  ]);
  assert.equal(folderNotes(lab, edited, context, 'v').length, 1);
});
test('what Terraform reads by itself', () => {
  const read = [
    'a.tf',
    'a.tf.json',
    'x.auto.tfvars',
    'x.auto.tfvars.json',
    'terraform.tfvars',
    'terraform.tfvars.json',
  ];
  const left = [
    'main.tf.edited',
    'x.tfvars',
    'rules-vm.tftpl',
    'terraform.tfstate',
    '.terraform.lock.hcl',
    'apply.tfplan',
  ];
  assert.deepEqual([...read, ...left].filter(isRead), read);
});

const lockOf = (version: string, ...hashes: string[]): string =>
  `provider "registry.terraform.io/bpg/proxmox" {\n  version     = "${version}"\n  constraints = "${version}"\n${
    hashes.length > 0 ? `  hashes = [\n${hashes.map((hash) => `    "${hash}",\n`).join('')}  ]\n` : ''
  }}\n`;
/** Ours, the working folder's, whether ours is copied there. */
const locks: [string, string, string | undefined, boolean][] = [
  ['none yet', lockOf('0.111.1'), undefined, true],
  ['the same', lockOf('0.111.1'), lockOf('0.111.1'), false],
  ['hashes that init found are kept', lockOf('0.111.1'), lockOf('0.111.1', 'h1:a', 'zh:b'), false],
  ['another version', lockOf('0.112.0'), lockOf('0.111.1', 'h1:a'), true],
  ['hashes that a person gave to ours', lockOf('0.111.1', 'h1:a', 'h1:mac'), lockOf('0.111.1', 'h1:a'), true],
  ['… and that are there', lockOf('0.111.1', 'h1:a'), lockOf('0.111.1', 'h1:a', 'zh:b'), false],
];
for (const [name, ours, theirs, differs] of locks)
  test(`the lock file: ${name}`, () => assert.equal(lockDiffers(ours, theirs), differs));

test.run();
