import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import type { LossesSeen } from '../lib/plan/losses.ts';
import { planProvision } from '../lib/plan/provision.ts';
import { quorumNotes } from '../lib/plan/provision-quorum.ts';
import type { VmChange } from '../lib/plan/terraform-json.ts';
import { done, lab, settings } from './provision-seen.ts';

/** Several members of etcd that Terraform would take away at once: refused, where etcd need not stop. */
const test = suite('provision: who is left of etcd');

const restart = (name: string): VmChange => ({
  name,
  action: 'update',
  differences: ['memory: 64 → 32'],
  restarts: true,
});
const change = (name: string, action: VmChange['action']): VmChange => ({ name, action, differences: [] });
const seen = (...members: [string, boolean][]): LossesSeen => ({
  volumes: { ok: true, value: [] },
  members: { ok: true, value: members.map(([name, ready]) => ({ name, ready })) },
});
const two = seen(['k3s-cp-01', true], ['k3s-cp-02', true]);
const three = seen(['k3s-cp-01', true], ['k3s-cp-02', true], ['k3s-cp-03', true]);
const oneDown = seen(['k3s-cp-01', true], ['k3s-cp-02', true], ['k3s-cp-03', false]);
const silent = (reason: string, clusterMade = true): LossesSeen => ({
  ...{ volumes: { ok: false, reason }, members: { ok: false, reason }, clusterMade },
});
const nobody = 'k3s-cp-01: K3s is not installed; k3s-cp-02: K3s is not installed';
const both = [restart('k3s-cp-01'), restart('k3s-cp-02')];

const cases: [what: string, changes: VmChange[], seen: LossesSeen | undefined, level?: string, said?: RegExp][] = [
  [
    'both of two restart',
    both,
    two,
    'blocker',
    /^Terraform would restart k3s-cp-01, k3s-cp-02 at once: etcd: 2 members, 2 needed/,
  ],
  ['one of two restarts: there is no other way', [restart('k3s-cp-01')], two],
  ['one of three restarts', [restart('k3s-cp-01')], three],
  ['two of three restart', both, three, 'blocker', /without k3s-cp-01, k3s-cp-02 1 is left: it stops/],
  [
    'one restarts while another is down',
    [restart('k3s-cp-01')],
    oneDown,
    'blocker',
    /2 ready; without k3s-cp-01 1 is left: it stops/,
  ],
  ['the one that is down restarts', [restart('k3s-cp-03')], oneDown],
  [
    'one is made anew, another restarts',
    [change('k3s-cp-01', 'replace'), restart('k3s-cp-02')],
    three,
    'blocker',
    /^Terraform would replace and restart k3s-cp-01, k3s-cp-02/,
  ],
  [
    'two are destroyed',
    [change('k3s-cp-01', 'delete'), change('k3s-cp-02', 'delete')],
    three,
    'blocker',
    /^Terraform would destroy/,
  ],
  [
    'one of two is made anew: its way is another',
    [change('k3s-cp-02', 'replace')],
    two,
    'warning',
    /^Terraform would replace k3s-cp-02: .* 1 is left: it stops$/,
  ],
  ['one of three is destroyed', [change('k3s-cp-02', 'delete')], three],
  [
    'agents, and servers that are changed while they run',
    [restart('k3s-gpu-01'), change('k3s-cp-01', 'update'), change('k3s-cp-02', 'create')],
    two,
  ],
  ['a new lab: no cluster was ever made', both, silent('k3s-cp-01: connect ECONNREFUSED', false)],
  ['a new lab: K3s is nowhere', both, silent(nobody)],
  [
    'a cluster that cannot be asked',
    both,
    silent('k3s-cp-01: no answer; k3s-cp-02: no answer'),
    'blocker',
    /by homelab\.yaml: the cluster could not be asked/,
  ],
  ['nothing was asked', both, undefined],
];
for (const [what, changes, losses, level, said] of cases)
  test(what, () => {
    const notes = quorumNotes(lab, changes, losses);
    assert.deepEqual(
      notes.map((note) => note.level),
      level ? [level] : [],
    );
    if (said) assert.match(notes[0]?.text ?? '', said);
  });

test('the way is named', () => {
  const fix = (changes: VmChange[], losses: LossesSeen): string | undefined =>
    quorumNotes(lab, changes, losses)[0]?.fix;
  assert.equal(fix(both, two), '--limit k3s-cp-01, then install-k3s until it is Ready; then k3s-cp-02 in the same way');
  assert.equal(fix([restart('k3s-cp-01')], oneDown), 'start k3s-cp-03 first');
  assert.match(
    fix([change('k3s-cp-01', 'replace'), restart('k3s-cp-02')], three) ?? '',
    /^npx tsx scripts\/remove-node\.ts k3s-cp-01 first; --limit k3s-cp-01/,
  );
});

test('a plan of Terraform that does it is refused; a whole lab that is destroyed is not asked', () => {
  const blockers = (value: VmChange[]): string[] =>
    planProvision(lab, { ...done, changes: { ok: true, value }, losses: two }, settings)
      .notes.filter(({ level }) => level === 'blocker')
      .map(({ text }) => text);
  assert.equal(blockers(both).length, 1);
  assert.deepEqual(blockers([restart('k3s-cp-01')]), []);
  const destroy = (limit?: string[]): number =>
    planProvision(lab, { ...done, losses: three }, { ...settings, destroy: true, limit }).notes.filter(
      ({ level }) => level === 'blocker',
    ).length;
  assert.equal(destroy(), 0);
  assert.equal(destroy(['k3s-cp-01', 'k3s-cp-02']), 1);
  assert.equal(destroy(['k3s-cp-01']), 0);
});

test.run();
