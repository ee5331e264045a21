import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { realExec } from '../lib/ports/exec.ts';
import { gate } from './pve-fixture.ts';
import { type Case, startTemplateLab, strike, type TemplateLab } from './template-faults.ts';

/** Builds that fail, with Debian's Packer itself: what it leaves behind is not for us to say. */
const test = suite("build-template, and Debian's Packer when a build goes wrong");
const { code, stdout } = await realExec().run(['packer', 'version'], { deadline: 30 });
const missing =
  code === 0 && /v1\.6\./.test(stdout) ? undefined : 'packer 1.6, with its built-in Proxmox builder, is not on PATH';
const withPacker = gate(test, 'packer', missing);

let lab: TemplateLab;
test.before(async () => {
  if (missing === undefined) lab = await startTemplateLab({}, ['terraform']);
});
test.after(async () => lab?.close());

const cases: Case[] = [
  {
    name: 'the disk of the template finds no room',
    faults: [{ kind: 'fill', storage: 'local-zfs' }],
    says: [/packer build/, /out of space/],
    after: ({ pve }) => assert.equal(pve.snapshot().vms.length, 2, 'nothing is left behind'),
  },
  {
    name: 'the conversion into a template is cut',
    faults: [{ kind: 'drop', request: { method: 'POST', path: /\/template$/ }, when: 'before' }],
    times: 20,
    says: [/packer build/],
  },
];
for (const one of cases) withPacker(one.name, () => strike(lab, { from: [], ...one }));

test.run();
