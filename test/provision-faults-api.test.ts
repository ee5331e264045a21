import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { type Case, declare } from './provision-fault-cases.ts';
import { type FaultLab, oneVm, type Ran, startFaultLab, terraformMissing } from './provision-faults.ts';
import { gate } from './pve-fixture.ts';

/** An API that is slow, or takes neither the token nor our trust. */
const NODES = ['pve-01', 'pve-02', 'pve-03'];

async function renew(lab: FaultLab, by: 'same CA' | 'other CA'): Promise<void> {
  for (const node of NODES) await lab.pve.renewCertificate(node, by);
}

const createsAnew = (_lab: FaultLab, { text }: Ran): void => assert.ok(!text.includes('import VM 200'), text);

const CASES: Case[] = [
  {
    name: 'a slow API is waited for',
    fault: ({ pve }) => pve.faults.set('slow', { kind: 'slow', request: {}, ms: 80 }),
    code: 0,
    says: [/4 of 4 proofs hold/],
  },
  {
    name: 'a token that is not accepted',
    fault: ({ pve }) => pve.faults.set('auth', { kind: 'auth' }),
    says: [/401/, /homelab@pve!toolkit/, /PROXMOX_TOKEN_SECRET/],
  },
  {
    name: 'a token that is taken away between plan and apply',
    at: 'terraform plan',
    fault: ({ pve }) => pve.faults.set('auth', { kind: 'auth' }),
    says: [/401/, /probable cause: Proxmox does not know the token/, /PROXMOX_TOKEN_SECRET/],
    next: createsAnew,
  },
  {
    name: 'a privilege that is taken away between plan and apply, with the VM half made',
    fault: ({ pve }) =>
      pve.faults.set('deny', {
        ...{ kind: 'deny', path: '/vms/200', privilege: 'VM.Config.Cloudinit' },
        request: { method: 'PUT', path: /\/200\/config$/ },
      }),
    says: [/lacks the privilege VM\.Config\.Cloudinit on \/vms\/200/, /--role prints/],
  },
  {
    name: 'another certificate',
    fault: (lab) => renew(lab, 'other CA'),
    says: [/certificate does not verify by proxmox\.ca_file/, /shown was/, /copy \/etc\/pve\/pve-root-ca\.pem/],
    clear: (lab) => renew(lab, 'same CA'),
  },
  {
    name: 'another certificate between plan and apply',
    at: 'terraform plan',
    fault: (lab) => renew(lab, 'other CA'),
    says: [/x509/, /probable cause: the API's certificate is not of proxmox\.ca_file/],
    clear: (lab) => renew(lab, 'same CA'),
  },
];

const test = suite('provision with the real Terraform: the API');
const withTerraform = gate(test, 'terraform', await terraformMissing());
let lab: FaultLab;
test.before(async () => {
  lab = await startFaultLab(oneVm, { latency: { authFailure: 100 } });
});
test.after(() => lab.close());

declare(withTerraform, CASES, () => lab);

test.run();
