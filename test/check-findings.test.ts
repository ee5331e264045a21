import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  awayWithTheirVms,
  checkExit,
  type Finding,
  findingsText,
  isProxmoxAway,
  type Look,
  preflightFindings,
} from '../lib/plan/check.ts';
import { type Chain, chainFindings } from '../lib/plan/check-chain.ts';
import type { Note, Step } from '../lib/step.ts';
import { labOf } from './provision-fixture.ts';

const test = suite('what check finds');

function look(script: string, notes: Note[] = [], steps: Step[] = []): Look {
  return { script, plan: { steps, notes } };
}

function step(id: string, host?: string, after: string[] = []): Step {
  return { id, title: id, why: 'absent', host, after, action: { kind: 'wait', for: { ssh: 'x' }, deadline: 1 } };
}

/** Findings as "area level: text". */
function found(looks: Look[], more: Partial<Chain> = {}): string[] {
  const nothing = {
    proxmoxAway: false,
    away: new Map<string, string>(),
    said: [],
    explained: new Set<string>(),
    byHand: new Set<string>(),
    limit: [],
  };
  return chainFindings({ looks, ...nothing, ...more }).map(({ area, level, text }) => `${area} ${level}: ${text}`);
}

const waitsFor = (what: Note['waitsFor'], text: string, host?: string): Note => ({
  level: 'blocker',
  text,
  waitsFor: what,
  host,
});

test('a note: what was said already is not said again', () => {
  const cases: [Note, string][] = [
    [{ level: 'warning', text: '2 K3s servers' }, 'ok: as homelab.yaml says'],
    [{ level: 'warning', text: 'the clock of cp-01 is late' }, 'warning: the clock of cp-01 is late'],
    [{ level: 'blocker', text: 'the disk is full' }, 'broken: the disk is full'],
    [{ level: 'info', text: 'as an aside' }, 'ok: as homelab.yaml says'],
  ];
  const said = ['homelab.yaml:9:5: k3s.nodes: 2 K3s servers; make it three'];
  for (const [note, text] of cases)
    assert.equal(found([look('install-k3s', [note])], { said }), [`install-k3s ${text}`], note.text);
});

test('a script that could not look is broken', () => {
  assert.equal(found([{ script: 'provision', error: 'no answer' }]), ['provision broken: no answer']);
  assert.equal(found([{ script: 'provision', error: 'no answer' }], { said: ['x: no answer'] }), []);
});

test('a script waits for an earlier one while that has work to do, and is broken afterwards', () => {
  const k3s = look('install-k3s', [waitsFor('provision', 'cp-01 is not reachable', 'cp-01')], [step('a', 'cp-01')]);
  assert.equal(found([look('provision'), k3s]), [
    'provision ok: as homelab.yaml says',
    'install-k3s broken: cp-01 is not reachable',
  ]);
  assert.equal(found([look('provision', [], [step('apply')]), k3s]), [
    'provision drift: apply (absent)',
    'waiting waiting: install-k3s waits for provision: cp-01 is not reachable',
  ]);
});

test('waiting goes on down the chain; real obstacles are told all the same', () => {
  const looks = [
    look('build-template', [], [step('iso')]),
    look(
      'provision',
      [waitsFor('build-template', 'no template'), { level: 'blocker', text: 'VMID 200 is taken' }],
      [step('x')],
    ),
    look('install-k3s', [waitsFor('provision', 'a is away', 'a'), waitsFor('provision', 'b is away', 'b')]),
    look('install-metallb', [waitsFor('install-k3s', 'no K3s server answers')], [step('chart')]),
    look('setup-ingress', [waitsFor('install-k3s', 'the cluster does not answer')], [step('chart')]),
  ];
  assert.equal(found(looks), [
    'build-template drift: iso (absent)',
    'provision broken: VMID 200 is taken',
    'waiting waiting: provision waits for build-template: no template',
    'waiting waiting: install-k3s waits for provision: a is away; so is b',
    'waiting waiting: install-metallb, setup-ingress wait for install-k3s: no K3s server answers',
  ]);
});

test('what was planned for a host that was not seen is left out, and so is what only follows from it', () => {
  const notes = [waitsFor('provision', 'new is not reachable', 'new')];
  const before = look('provision', [], [step('apply')]);
  const drift = (steps: Step[]): string[] => found([before, look('install-k3s', notes, steps)]).slice(1, -1);
  assert.equal(drift([step('token'), step('new/install', 'new')]), []);
  assert.equal(drift([step('token'), step('new/install', 'new'), step('old/config', 'old')]), [
    'install-k3s drift: token (absent)',
    'install-k3s drift: old: old/config (absent)',
  ]);
});

test('Proxmox is away: who needs it waits, and says it together', () => {
  const away = waitsFor('Proxmox', 'the Proxmox API does not answer: ECONNREFUSED');
  const looks = [look('build-template', [away]), look('provision', [away])];
  assert.equal(found(looks, { proxmoxAway: true }), ['waiting waiting: build-template, provision wait for Proxmox']);
  assert.is(found(looks).length, 2, 'that it refuses a request is no absence');
});

test('a VM that a backup holds right now is waited for: nobody has to mend anything', () => {
  const locked = waitsFor('a task of Proxmox', 'VM 200 on pve-02 is locked (backup)', 'cp-01');
  assert.equal(found([look('provision', [locked], [step('cp-01/agent', 'cp-01')])]), [
    'waiting waiting: provision waits for a task of Proxmox: VM 200 on pve-02 is locked (backup)',
  ]);
});

test('another run holds what Terraform knows: its end is waited for, and nothing is told of what it would do', () => {
  const held = waitsFor('another run', 'terraform plan failed:\nError: Error acquiring the state lock');
  const looks = [look('provision', [held], [step('terraform/apply'), step('cp-01/agent', 'cp-01')])];
  assert.equal(found(looks), [
    'waiting waiting: provision waits for another run: terraform plan failed:\nError: Error acquiring the state lock',
  ]);
});

test('a Proxmox node is away: what is on it waits, the others are told about', () => {
  const away = new Map([
    ['pve-02', 'pve-02'],
    ['cp-01', 'pve-02'],
  ]);
  const note = (host: string): Note => ({ level: 'blocker', text: `${host} cannot be read`, host });
  const looks = [
    look('build-template', [note('pve-02')], [step('clone', 'pve-02'), step('iso', 'pve-01')]),
    look('provision', [note('cp-01')]),
    look('install-k3s', [{ ...note('cp-01'), waitsFor: 'provision' }], [step('install', 'cp-01')]),
  ];
  assert.equal(found(looks, { away }), [
    'build-template drift: pve-01: iso (absent)',
    'waiting waiting: build-template, provision, install-k3s wait for pve-02',
  ]);
});

test('of provision only what the comparison of the sources has not told', () => {
  const steps = [
    ...[step('terraform/variables'), step('terraform/apply', undefined, ['terraform/variables'])],
    ...[step('a/agent', 'a', ['terraform/apply']), step('b/agent', 'b', ['terraform/apply']), step('b/grow', 'b')],
  ];
  const provision = (more: Partial<Chain>): string[] => found([look('provision', [], steps)], more);
  const update = (name: string) => ({ name, action: 'update' as const, differences: ['CPU type: a → b'] });
  assert.equal(provision({ explained: new Set(['a', 'b']), changes: [update('a')] }), []);
  assert.equal(provision({ explained: new Set(['a']), changes: [update('a'), update('b')] }), [
    'provision drift: b: Terraform would update it (CPU type: a → b)',
  ]);
  assert.equal(provision({ changes: [] }).length, 5);
  assert.equal(
    provision({}),
    ['terraform/variables', 'terraform/apply', 'b: b/grow'].map((text) => `provision drift: ${text} (absent)`),
    'Terraform was not asked',
  );
});

test('what provision refuses because of something that was told', () => {
  const note: Note = { level: 'blocker', text: 'a is on another node', host: 'a' };
  assert.equal(found([look('provision', [note])], { byHand: new Set(['a']) }), []);
  assert.is(found([look('provision', [note])]).length, 1);
  assert.is(found([look('install-k3s', [note])], { byHand: new Set(['a']) }).length, 1);
  assert.is(found([look('provision', [note])], { limit: ['b'] }).length, 1, 'as wanted');
});

test('exit codes, marks and counts; of many steps the first ones', () => {
  const finding = (level: Finding['level'], text: string = level): Finding => ({ area: 'x', level, text });
  const cases: [Finding['level'][], number][] = [
    [[], 0],
    [['ok', 'warning'], 0],
    [['ok', 'drift'], 3],
    [['waiting'], 3],
    [['drift', 'waiting', 'broken'], 1],
  ];
  for (const [levels, exit] of cases) assert.is(checkExit(levels.map((level) => finding(level))), exit, levels.join());
  const all = (['broken', 'drift', 'waiting', 'warning', 'ok'] as const).map((level) => finding(level));
  assert.is(
    findingsText([...all, { ...finding('ok'), fix: 'nothing' }]),
    '✗ x  broken\n~ x  drift\n… x  waiting\n! x  warning\n✓ x  ok\n✓ x  ok; nothing\n1 broken, 1 drifted, 1 waiting, 1 warnings, 2 as wanted',
  );
  const many = Array.from({ length: 9 }, (_, i) => finding('drift', `step ${i}`));
  const lines = findingsText(many).split('\n');
  assert.equal(lines.slice(3), [
    '~ x  step 3',
    '~ x  and 5 more: npx tsx scripts/x.ts --dry-run',
    '0 broken, 9 drifted, 0 waiting, 0 warnings, 0 as wanted',
  ]);
});

test('where no Proxmox node answers, the token is not told about', () => {
  const nodes = ['pve-01', 'pve-02'].map((name) => ({ name, address: '10.0.0.1', reason: 'ECONNREFUSED' }));
  const preflight = { tools: [], key: { path: 'k', found: true }, nodes, token: { reason: 'no Proxmox node answers' } };
  assert.ok(isProxmoxAway(preflight));
  assert.is(awayWithTheirVms(labOf().config, preflight).size, 0);
  const { config } = labOf();
  assert.equal(
    preflightFindings(config, preflight).map(({ level }) => level),
    ['ok', 'broken', 'broken'],
  );
  const refused = { ...preflight, nodes: nodes.map(({ name, address }) => ({ name, address })) };
  assert.ok(isProxmoxAway(refused));
  assert.equal(
    preflightFindings(config, refused).map(({ level }) => level),
    ['ok', 'ok', 'ok', 'broken'],
  );
});

test('one Proxmox node is away, and the VMs on it', () => {
  const nodes = ['pve-01', 'pve-02'].map((name) => ({
    ...{ name, address: '10.0.0.1' },
    reason: name === 'pve-02' ? 'no route to host' : undefined,
  }));
  const preflight = { tools: [], key: { path: 'k', found: true }, nodes, token: { granted: {} } };
  assert.equal(
    [...awayWithTheirVms(labOf().config, preflight)],
    [
      ['pve-02', 'pve-02'],
      ['k3s-cp-01', 'pve-02'],
    ],
  );
});

test.run();
