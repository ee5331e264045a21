import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadConfig } from '../lib/config/load.ts';
import type { Config } from '../lib/config/schema.ts';
import type { HomelabError } from '../lib/errors.ts';
import type { Lab } from '../lib/lab-context.ts';
import { allocateAll, openLedger } from '../lib/ledger/ledger.ts';
import { emptyLockFile, type Lease, type LockFile, parseLockFile, renderLockFile } from '../lib/ledger/lockfile.ts';
import { labPaths, TOOLKIT } from '../lib/paths.ts';
import { type NetworkSeen, planAllocate, planDoc, planList, planRelease, recorded } from '../lib/plan/network.ts';
import { networkDoc } from '../lib/render/network-doc.ts';
import { listText, networkList } from '../lib/render/network-list.ts';
import type { Plan } from '../lib/step.ts';
import { smallLab } from './fixtures/lab.ts';

const DAY = '2026-11-23';

function labOf(leases: Lease[] = [], config: Config = smallLab()): Lab {
  const lock: LockFile = { ...emptyLockFile('small'), leases };
  const opened = openLedger(config, leases);
  const { ledger, given } = allocateAll(opened, config.k3s.nodes, DAY);
  const leaseProblems = opened.problems.map(({ message }) => message);
  return {
    config,
    paths: labPaths('/lab/homelab.yaml', 'small'),
    lock,
    ledger,
    newLeases: given,
    leaseProblems,
    today: DAY,
  };
}

function seenOf(lab: Lab): NetworkSeen {
  return { lock: renderLockFile(lab.lock), doc: networkDoc(lab.config, recorded(lab)) };
}

function shown({ steps, notes }: Plan): string[] {
  return [
    ...notes.map(({ level, text }) => `${level}: ${text}`),
    ...steps.map(({ id, why, after, destroys }) =>
      [id, why, after && `after ${after}`, destroys].filter(Boolean).join(' · '),
    ),
  ];
}

/** What a step of a plan would write. */
function written(plan: Plan, id: string): string {
  const action = plan.steps.find((step) => step.id === id)?.action;
  return action?.kind === 'write' && typeof action.content === 'string' ? action.content : '';
}

const all: Lease[] = [
  { name: 'cp-01', address: '192.0.2.80', role: 'server', since: DAY },
  { name: 'gpu-01', address: '192.0.2.85', role: 'agent', since: DAY },
  { name: 'worker-01', address: '192.0.2.86', role: 'agent', since: DAY },
];
const gone: Lease = { name: 'worker-09', address: '192.0.2.90', role: 'agent', since: '2025-01-01' };

const allocate = suite('network allocate');

allocate('gives every node an address, then writes the document', () => {
  const plan = planAllocate(labOf(), {});
  assert.equal(shown(plan), [
    'lock · cp-01 gets 192.0.2.80, gpu-01 gets 192.0.2.85, worker-01 gets 192.0.2.86',
    'doc · absent · after lock',
  ]);
  assert.equal(parseLockFile(written(plan, 'lock'), 'f', 'small').leases, all);
  assert.match(written(plan, 'doc'), /\| 192\.0\.2\.86 \| worker-01 \| K3s agent on pve-02, VMID 211 \|/);
});

allocate('gives one node its address; the document says who has none', () => {
  const plan = planAllocate(labOf(), {}, 'gpu-01');
  assert.equal(parseLockFile(written(plan, 'lock'), 'f', 'small').leases, [all[1]!]);
  assert.match(written(plan, 'doc'), /No address yet, until `[^`]*` gives one: cp-01, worker-01\./);
});

allocate('has nothing to do after itself', () => {
  const lab = labOf(all);
  assert.equal(planAllocate(lab, seenOf(lab)).steps, []);
  assert.equal(planAllocate(lab, seenOf(lab), 'cp-01').steps, []);
});

allocate('a node that comes leaves the others where they are, and a lease that is unused too', () => {
  const config = smallLab((raw) => {
    raw.k3s.nodes.unshift({ ...raw.k3s.nodes[2]!, name: 'a-01', vmid: 300 });
  });
  const lab = labOf([...all, gone], config);
  const plan = planAllocate(lab, seenOf(lab));
  assert.equal(shown(plan)[0], 'lock · a-01 gets 192.0.2.87');
  assert.equal(parseLockFile(written(plan, 'lock'), 'f', 'small').leases, [
    ...all,
    gone,
    { name: 'a-01', address: '192.0.2.87', role: 'agent', since: DAY },
  ]);
});

allocate('a name that homelab.yaml does not hold is a wrong call', () => {
  assert.throws(
    () => planAllocate(labOf(), {}, 'gpu-1'),
    (e: HomelabError) =>
      e.exit === 2 &&
      e.message === 'there is no K3s node of homelab.yaml "gpu-1"' &&
      e.fix === 'did you mean "gpu-01"?',
  );
});

allocate('leases that contradict homelab.yaml stop it', () => {
  const lab = labOf([{ ...gone, address: '192.0.2.11' }]);
  const said =
    'homelab.lock.yaml: lease of worker-09: address 192.0.2.11 is used by both pve-01 (Proxmox node) and worker-09';
  assert.is(shown(planAllocate(lab, seenOf(lab)))[0], `blocker: ${said}`);
  assert.is(shown(planDoc(lab, seenOf(lab)))[0], `blocker: ${said}`);
  assert.equal(shown(planList(lab)), [`warning: ${said}`]);
});

const release = suite('network release');

release('an unused lease, and says what is lost', () => {
  const lab = labOf([...all, gone]);
  const plan = planRelease(lab, seenOf(lab), 'worker-09', false);
  assert.equal(shown(plan), [
    'lock · worker-09 gives it back · 192.0.2.90 of worker-09: the next node may get it',
    'doc · it says something else than homelab.yaml and homelab.lock.yaml · after lock',
  ]);
  assert.equal(parseLockFile(written(plan, 'lock'), 'f', 'small').leases, all);
});

release('one that a K3s node uses only by --force', () => {
  const lab = labOf(all);
  const [note] = planRelease(lab, seenOf(lab), 'gpu-01', false).notes;
  assert.is(note?.level, 'blocker');
  assert.match(note!.text, /^gpu-01 is a K3s node of homelab\.yaml/);
  const forced = planRelease(lab, seenOf(lab), 'gpu-01', true);
  assert.equal(forced.notes, []);
  assert.equal(forced.steps[0]?.destroys, ['192.0.2.85 of gpu-01: the next node may get it']);
});

release('mends a contradiction, though a fixed host has the address by now', () => {
  const lab = labOf([...all, { ...gone, address: '192.0.2.11' }]);
  const plan = planRelease(lab, seenOf(lab), 'worker-09', false);
  assert.equal(parseLockFile(written(plan, 'lock'), 'f', 'small').leases, all);
  assert.match(written(plan, 'doc') || networkDoc(lab.config, openLedger(lab.config, all)), /192\.0\.2\.11 \| pve-01/);
});

release('a lease that is not there is a wrong call', () => {
  assert.throws(
    () => planRelease(labOf([gone]), {}, 'worker-9', false),
    (error: HomelabError) => error.exit === 2 && error.fix === 'did you mean "worker-09"?',
  );
});

const doc = suite('docs/NETWORK.md');

doc('is written when it is absent or stale, and only then', () => {
  const lab = labOf(all);
  const fresh = seenOf(lab);
  assert.equal(shown(planDoc(lab, fresh)), []);
  assert.equal(shown(planDoc(lab, { ...fresh, doc: undefined })), ['doc · absent']);
  assert.is(planDoc(lab, { ...fresh, doc: `${fresh.doc} ` }).steps.length, 1);
});

doc('of this lab is current, and its leases are those that were decided', () => {
  const { config } = loadConfig(join(TOOLKIT, 'homelab.yaml'));
  const lockText = readFileSync(join(TOOLKIT, 'homelab.lock.yaml'), 'utf8');
  const lock = parseLockFile(lockText, 'homelab.lock.yaml', 'homelab');
  assert.equal(
    lock.leases.map(({ name, address }) => `${name} ${address}`),
    ['k3s-cp-01 10.20.11.80', 'k3s-cp-02 10.20.11.81', 'k3s-gpu-01 10.20.11.85'],
  );
  assert.is(lockText, renderLockFile(lock));
  const text = readFileSync(join(TOOLKIT, 'docs', 'NETWORK.md'), 'utf8');
  assert.is(text, networkDoc(config, openLedger(config, lock.leases)), 'stale: npx tsx scripts/network.ts doc');
});

doc('orders by address, and keeps a note in its cell', () => {
  const config = smallLab((raw) => {
    raw.network.hosts.push({ name: 'printer', address: '192.0.2.9', note: 'a | b\n# c \\ d' });
    raw.nas[0]!.address = '198.51.100.20';
  });
  const text = networkDoc(config, openLedger(config, all));
  const addresses = text
    .split('## Ranges')[0]!
    .match(/^\| \d[\d.]+(?= )/gm)!
    .map((cell) => Number(cell.split('.')[3]));
  assert.equal(
    addresses,
    [...addresses].sort((a, b) => a - b),
  );
  assert.match(text, '| 192.0.2.9 | printer | host | a \\| b # c \\\\ d |');
  assert.match(text.split('## Beyond the subnet')[1]!, '| 198.51.100.20 | unas |');
  assert.is(text, networkDoc(config, openLedger(config, all)), 'the same text each time');
});

const list = suite('network list');

list('shows every address, and marks a lease whose node is gone', () => {
  const lab = labOf([all[0]!, gone]);
  const found = networkList(lab.config, recorded(lab), []);
  assert.equal(found.missing, ['gpu-01', 'worker-01']);
  assert.equal(
    found.addresses.filter((entry) => entry.lease).map(({ name, lease }) => `${name} ${lease}`),
    ['cp-01 used', 'worker-09 unused'],
  );
  const lines = listText(found).split('\n');
  assert.ok(
    lines.includes(
      '192.0.2.90  worker-09  K3s agent that homelab.yaml does not hold  unused: lowest free of its range, since 2025-01-01',
    ),
  );
  assert.ok(
    lines.includes(
      '-           gpu-01     K3s node                                   no lease yet: npx tsx scripts/network.ts allocate',
    ),
  );
  assert.ok(lines.includes('192.0.2.80-192.0.2.84    network.ranges.server  1 of 5'));
});

allocate.run();
release.run();
doc.run();
list.run();
