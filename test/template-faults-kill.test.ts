import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { startTemplateLab, strangersIn, type TemplateLab } from './template-faults.ts';

/** A run that is killed, at ten moments of one build; each next run goes on from where it was. */
const test = suite('build-template, killed');
let lab: TemplateLab;
test.before(async () => {
  lab = await startTemplateLab({ clone: 700, migrate: 700, install: 700, boot: 300, shutdown: 300, task: 300 });
});
test.after(async () => {
  const { problems } = lab.pve;
  await lab.close();
  assert.deepEqual(problems, []);
});

/** What it is doing, and how many milliseconds later it is killed. */
const moments: [RegExp, number][] = [
  [/looking|warning/, 0],
  [/… pve-01: packer validate/, 100],
  [/… pve-01: fetch \S+ to local/, 100],
  [/… pve-01: packer build/, 100],
  [/… pve-01: packer build/, 1500],
  [/… pve-01: packer build/, 3000],
  [/… pve-02: clone/, 100],
  [/… pve-02: migrate/, 300],
  [/… pve-03: (clone|migrate)/, 500],
  [/… pve-03: (migrate|make)/, 10],
];

test('the build comes to its end', async () => {
  const strangers = strangersIn(lab.pve.snapshot());
  let killed = 0;
  for (const [moment, ms] of moments) {
    const run = lab.start();
    await run.said(moment);
    await new Promise((done) => setTimeout(done, ms));
    run.child.kill('SIGKILL');
    const { signal, text } = await run.ended;
    assert.ok(signal === 'SIGKILL' || moment !== moments[0]?.[0], text);
    if (signal === 'SIGKILL') killed += 1;
    assert.deepEqual(strangersIn(lab.pve.snapshot()), strangers);
  }
  assert.ok(killed >= 9, `${killed} of ten were killed at work`);
  await lab.converges();
  assert.deepEqual(strangersIn(lab.pve.snapshot()), strangers);
});

test.run();
