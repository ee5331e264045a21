import { createHash } from 'node:crypto';
import * as fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { limited } from '../lib/limit.ts';
import { planForJson } from '../lib/plan-json.ts';
import { inOrder, joinPlans, noSteps, type Plan, references, type Step } from '../lib/step.ts';

const test = suite('plans');

/** Steps written as "c<a,b": c is after a and b. A host may stand before: "host/c<a". */
function planOf(text: string): Plan {
  const steps = text.split(' ').map((word): Step => {
    const [id = '', after] = word.split('<');
    const [host] = id.includes('/') ? id.split('/') : [undefined];
    const action = { kind: 'operation', name: id, args: {}, deadline: 5 } as const;
    return { id, title: id, why: 'absent', host, after: after?.split(','), action };
  });
  return { steps, notes: [] };
}

test('steps come after what they are after', () => {
  const cases: [string, string][] = [
    ['a b c', 'a b c'],
    ['a<b b<c c', 'c b a'],
    ['d<b,c b<a c<a a', 'a b c d'],
  ];
  for (const [text, order] of cases) assert.is(ids(inOrder(planOf(text))), order);
});

test('a plan that cannot run is a defect, and says why', () => {
  const cases: [string, string][] = [
    ['a a', 'two steps have the id a'],
    ['a<b', 'a is after b, which is not in the plan'],
    ['a<a', 'steps wait for each other: a → a'],
    ['a<b b<c c<a', 'steps wait for each other: a → b → c → a'],
  ];
  for (const [text, said] of cases)
    assert.throws(
      () => inOrder(planOf(text)),
      (error: Error) => error.message === said,
    );
});

test('any plan without a cycle can be ordered', () => {
  const edges = fc.array(fc.array(fc.nat(20), { maxLength: 4 }), { maxLength: 20 });
  fc.assert(
    fc.property(edges, fc.infiniteStream(fc.nat()), (list, numbers) => {
      const steps = list.map((after, i): Step => {
        const before = i === 0 ? [] : after.map((n) => `s${n % i}`);
        return { ...planOf(`s${i}`).steps[0]!, after: before };
      });
      const shuffled = steps.map((step) => ({ step, n: numbers.next().value as number })).sort((a, b) => a.n - b.n);
      const order = inOrder({ steps: shuffled.map(({ step }) => step), notes: [] }).map(({ id }) => id);
      assert.is(order.length, steps.length);
      for (const step of steps)
        for (const before of step.after ?? []) assert.ok(order.indexOf(before) < order.indexOf(step.id));
    }),
  );
});

test('references of a value', () => {
  assert.equal(references({ join: ['a', { from: 'x' }, { join: [{ from: 'y' }, { secret: 's' }] }] }), ['x', 'y']);
  assert.equal(references('text'), []);
});

test('plans of parts are one', () => {
  assert.is(ids(joinPlans(planOf('a'), noSteps, planOf('b<b0 b0')).steps), 'a b b0');
});

test('--limit keeps steps of these hosts and of none', () => {
  const plan = planOf('all x/a<all y/b<x/a end<y/b,x/a');
  const cases: [string[], string, string[]][] = [
    [[], 'all x/a y/b end', []],
    [['x'], 'all x/a end', ['--limit leaves out 1 step']],
    [['x', 'y'], 'all x/a y/b end', []],
    [['z'], 'all end', ['--limit leaves out 2 steps']],
  ];
  for (const [limit, kept, notes] of cases) {
    const result = limited(plan, limit);
    assert.is(ids(result.steps), kept);
    assert.equal(
      result.notes.map(({ text }) => text),
      notes,
    );
    inOrder(result);
  }
});

function ids(steps: readonly Step[]): string {
  return steps.map(({ id }) => id).join(' ');
}

test('as JSON: what is longer than anybody reads is told by its hash and size, the rest as it is', () => {
  const engine = `${'é'.repeat(40_000)}\n`;
  const object = (text: string) => ({
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'code' },
    data: { 'backup.cjs': text, 'config.json': '{}' },
  });
  const plan = (text: string): Plan => ({
    steps: [
      {
        ...{ id: 'code', title: 'apply it', why: 'absent' },
        action: { kind: 'kube', verb: 'apply', objects: [object(text)], deadline: 5 },
      },
    ],
    notes: [],
  });
  const sha256 = createHash('sha256').update(engine).digest('hex');
  const printed = JSON.stringify(planForJson(plan(engine)));
  assert.is(printed, JSON.stringify(plan('TEXT')).replace('"TEXT"', JSON.stringify({ sha256, bytes: 80_001 })));
  assert.equal(planForJson(plan('x'.repeat(9000))), plan('x'.repeat(9000)), 'scripts and manifests stay readable');
});

test.run();
