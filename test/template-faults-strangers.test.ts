import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { finishedIn, startTemplateLab, strangersIn, type TemplateLab } from './template-faults.ts';

/** VMIDs that somebody else takes, templates that somebody deletes, and two runs at once. */
const test = suite('build-template, and others at work');
let lab: TemplateLab;
test.before(async () => {
  lab = await startTemplateLab();
});
test.after(async () => {
  const { problems } = lab.pve;
  await lab.close();
  assert.deepEqual(problems, []);
});

test('VMIDs that strangers have are passed over, on this node and on another', async () => {
  await lab.reset('pve-01');
  lab.pve.addStranger({ vmid: 9001, node: 'pve-03', name: 'somebody-before' });
  lab.pve.addStranger({ vmid: 9002, node: 'pve-01', name: 'somebody-here' });
  const before = strangersIn(lab.pve.snapshot());
  await lab.converges();
  assert.deepEqual(lab.templates(), ['9000 pve-01', '9003 pve-02', '9004 pve-03']);
  assert.deepEqual(strangersIn(lab.pve.snapshot()), before);
});

for (const node of ['pve-01', 'pve-03'])
  test(`a stranger on ${node} takes the VMID while the run goes on`, async () => {
    await lab.reset('pve-01');
    // The clone has been planned, and waits.
    lab.pve.faults.set('slow', { kind: 'slow', request: { method: 'POST', path: /\/clone$/ }, ms: 1500 }, 1);
    const run = lab.start();
    await run.said(/… pve-02: clone 9000 to (\d+)/);
    const vmid = Number(/clone 9000 to (\d+)/.exec(run.heard())?.[1]);
    lab.pve.addStranger({ vmid, node, name: 'somebody-meanwhile' });
    const stranger = strangersIn(lab.pve.snapshot());
    const { code, text } = await run.ended;
    assert.equal(code, 1, text);
    assert.match(text, node === 'pve-01' ? /VM \d+: config file already exists/ : /File exists/);
    assert.match(text, /somebody took that VMID meanwhile/);
    assert.deepEqual(strangersIn(lab.pve.snapshot()), stranger, 'it is not touched');
    await lab.converges();
    assert.deepEqual(strangersIn(lab.pve.snapshot()), stranger);
  });

test('of templates of which one was deleted by hand, that one is made again', async () => {
  await lab.reset('pve-01', 'pve-02', 'pve-03');
  const all = finishedIn(lab.pve.snapshot());
  await lab.reset('pve-01', 'pve-03');
  const { code, text } = await lab.build();
  assert.equal(code, 0, text);
  assert.ok(!/(pve-01|pve-03): (packer|clone|migrate)/.test(text), text);
  assert.equal(finishedIn(lab.pve.snapshot()).length, all.length);
  await lab.converges(true);
});

test('of two runs at once the second one waits for nobody: 75', async () => {
  await lab.reset('pve-01');
  lab.pve.faults.set('slow', { kind: 'slow-task', type: 'qmclone', ms: 4000 });
  const before = lab.pve.requests.length;
  const first = lab.start();
  await first.said(/… pve-02: clone/);
  const second = await lab.build();
  assert.equal(second.code, 75, second.text);
  assert.match(second.text, /build-template/);
  const { code, text } = await first.ended;
  assert.equal(code, 0, text);
  const changes = lab.pve.requests.slice(before).filter(({ method }) => method !== 'GET');
  assert.equal(changes.length, 6, 'clone, migration and conversion for two nodes');
  await lab.converges(true);
});

test.run();
