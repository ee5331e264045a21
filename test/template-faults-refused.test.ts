import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, startTemplateLab, strike, type TemplateLab } from './template-faults.ts';

/** What Proxmox refuses: to this token, and to this role. */
const test = suite('build-template, and what Proxmox refuses');
let lab: TemplateLab;
test.before(async () => {
  lab = await startTemplateLab();
});
test.after(() => lab.close());

const deny = (path: RegExp, at: string, privilege: string): Case => ({
  name: `${privilege} is missing`,
  faults: [{ kind: 'deny', request: { method: 'POST', path }, path: at, privilege }],
  says: [
    new RegExp(`Permission check failed \\(${at}, ${privilege.replace('.', '\\.')}\\)`),
    new RegExp(`lacks ${privilege.replace('.', '\\.')} on ${at}: .*pveum acl modify ${at} --tokens`),
  ],
});

const cases: Case[] = [
  {
    name: 'the token is not accepted',
    faults: [{ kind: 'auth' }],
    says: [/does not accept the token homelab@pve!toolkit \(401/, /compare proxmox\.token_id and PROXMOX_TOKEN_SECRET/],
    after: (_lab, { text }) => assert.equal(text.match(/does not accept the token/g)?.length, 1, 'named once'),
  },
  deny(/\/clone$/, '/vms/9001', 'VM.Allocate'),
  deny(/\/migrate$/, '/vms/9001', 'VM.Migrate'),
  deny(/\/clone$/, '/storage/local-zfs', 'Datastore.AllocateSpace'),
];
for (const one of cases) test(one.name, () => strike(lab, one));

test.run();
