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

/** What a build says, in its order: a run that goes on from a later one does not say the earlier ones again. */
const stages = [
  /looking|warning/,
  /… pve-01: packer validate/,
  /… pve-01: fetch \S+ to local/,
  /… pve-01: packer build/,
  /… pve-02: clone/,
  /… pve-02: migrate/,
  /… pve-03: (clone|migrate)/,
  /… pve-03: (migrate|make)/,
];
/** A run is killed that many milliseconds after it came to that stage, or to a later one. */
const moments: [number, number][] = [
  ...([
    [0, 0],
    [1, 100],
    [2, 100],
    [3, 100],
    [3, 1500],
    [3, 3000],
  ] as [number, number][]),
  ...([
    [4, 100],
    [5, 300],
    [6, 500],
    [7, 10],
  ] as [number, number][]),
];

test('the build comes to its end', async () => {
  const strangers = strangersIn(lab.pve.snapshot());
  let killed = 0;
  for (const [stage, ms] of moments) {
    const run = lab.start();
    // Where this machine is slow, a kill comes later than asked: the work may be done by then, and the run at its end.
    await Promise.race([run.ended, ...stages.slice(stage).map(run.said)]);
    await new Promise((done) => setTimeout(done, ms));
    run.child.kill('SIGKILL');
    const { signal, code, text } = await run.ended;
    if (signal === 'SIGKILL') killed += 1;
    else assert.equal(code, 0, text);
    assert.deepEqual(strangersIn(lab.pve.snapshot()), strangers);
  }
  assert.ok(killed >= 6, `${killed} of ten were killed at work`);
  await lab.converges();
  assert.deepEqual(strangersIn(lab.pve.snapshot()), strangers);
});

test.run();
