import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, startTemplateLab, strike, type TemplateLab } from './template-faults.ts';

/** What happens to the calls by which templates are copied: cut, not passed on, refused. */
const test = suite('build-template, and calls that go wrong');
let lab: TemplateLab;
test.before(async () => {
  lab = await startTemplateLab();
});
test.after(() => lab.close());

const CLONE = { method: 'POST', path: /\/clone$/ };
const MIGRATE = { method: 'POST', path: /\/migrate$/ };
const CONVERT = { method: 'POST', path: /\/template$/ };
const UNKNOWN = /there was no answer: unknown whether it happened; pve-01 has no task of it/;

const cases: Case[] = [
  {
    name: 'the answers to clone, migration and conversion are lost',
    faults: [CLONE, MIGRATE, CONVERT].map((request) => ({ kind: 'drop', request, when: 'after' })),
    times: 1,
    survives: true,
  },
  {
    name: 'the answer to a clone is cut in its middle, that to a migration by a proxy',
    faults: [
      { kind: 'drop', request: CLONE, when: 'during' },
      { kind: 'gateway', request: MIGRATE, status: 596, when: 'after' },
      { kind: 'gateway', request: CONVERT, status: 502, when: 'after' },
    ],
    times: 1,
    survives: true,
  },
  {
    name: 'the connection is cut before a clone arrives',
    faults: [{ kind: 'drop', request: CLONE, when: 'before' }],
    wait: 3,
    says: [/POST \/nodes\/pve-01\/qemu\/9000\/clone: pve-01 .*other side closed/, UNKNOWN],
    after: ({ pve }) => assert.equal(pve.snapshot().vms.length, 3, 'nothing was cloned'),
  },
  {
    name: 'a proxy says 599 of a migration that did not happen',
    faults: [{ kind: 'gateway', request: MIGRATE, status: 599 }],
    wait: 3,
    says: [/migrate: pve-01 says: Too many redirections \(599\)/, UNKNOWN],
  },
  {
    name: 'a proxy has no route for a conversion',
    faults: [{ kind: 'gateway', request: CONVERT, status: 595 }],
    says: [/template: pve-0\d says: No route to host \(595\)/, /nothing was sent/],
  },
  {
    name: 'task polls are cut, and refused by a proxy',
    faults: [
      { kind: 'drop', request: { path: /tasks\/.*\/status$/ }, when: 'before' },
      { kind: 'gateway', request: { path: /tasks\/.*\/status$/ }, status: 595 },
    ],
    times: 5,
    survives: true,
  },
];
for (const one of cases) test(one.name, () => strike(lab, one));

test.run();
