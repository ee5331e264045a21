import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, startTemplateLab, strike, type TemplateLab } from './template-faults.ts';

/** Nodes that are slow, off, or not who they were. */
const test = suite('build-template, and nodes that are away');
let lab: TemplateLab;
test.before(async () => {
  lab = await startTemplateLab();
});
test.after(() => lab.close());

const cases: Case[] = [
  {
    name: 'every answer is slow',
    faults: [{ kind: 'slow', request: {}, ms: 150 }],
    survives: true,
  },
  {
    name: 'a node is off',
    faults: [{ kind: 'down', node: 'pve-03' }],
    says: [/pve-03 does not answer: /, /is it up/],
  },
];
for (const one of cases) test(one.name, () => strike(lab, one));

test('the certificate of a node changed: named with its node, and nothing is sent to it', async () => {
  for (const node of ['pve-01', 'pve-02']) {
    await lab.reset('pve-01');
    await lab.pve.renewCertificate(node, 'other CA');
    const before = lab.pve.requests.length;
    const { code, text } = await lab.build();
    assert.equal(code, 1, text);
    assert.match(
      text,
      new RegExp(`${node} \\(10\\.20\\.11\\.1\\d:8006\\): its certificate does not verify by proxmox\\.ca_file`),
    );
    assert.match(
      text,
      /shown was ([0-9A-F]{2}:){31}[0-9A-F]{2} \(issued by .*nothing was sent.*copy \/etc\/pve\/pve-root-ca\.pem/,
    );
    const requests = lab.pve.requests.slice(before);
    assert.ok(requests.every((request) => request.node !== node && request.method === 'GET'));
    await lab.pve.renewCertificate(node, 'same CA');
    await lab.converges();
  }
});

test.run();
