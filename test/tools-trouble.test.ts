import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { packerTrouble } from '../lib/plan/packer-trouble.ts';
import { terraformTrouble } from '../lib/plan/terraform-trouble.ts';

/** What Terraform 1.11.4 and Packer 1.11 print where their plugins cannot be had, and what is made of it. */
const test = suite('plugins that cannot be had');

const TERRAFORM: [string, string, RegExp, RegExp][] = [
  [
    'no name service',
    `Error: Failed to query available provider packages

Could not retrieve the list of available versions for provider bpg/proxmox:
could not connect to registry.terraform.io: failed to request discovery
document: Get "https://registry.terraform.io/.well-known/terraform.json":
dial tcp: lookup registry.terraform.io on 192.0.2.53:53: no such host`,
    /registry could not be reached for the provider bpg\/proxmox; nothing was changed/,
    /a way to registry\.terraform\.io/,
  ],
  [
    'a firewall: it is not taken for Proxmox',
    `│ Error: Failed to query available provider packages
│
│ Could not retrieve the list of available versions for provider bpg/proxmox:
│ could not connect to registry.terraform.io: dial tcp 192.0.2.1:443: connect:
│ connection refused`,
    /^Terraform's registry could not be reached/,
    /terraform providers mirror DIR/,
  ],
  [
    'a mirror that is not there',
    `Error: Failed to query available provider packages

Could not retrieve the list of available versions for provider bpg/proxmox:
cannot search /mirror: lstat /mirror: no such file or directory`,
    /could not be reached/,
    /filesystem_mirror/,
  ],
  [
    'other hashes',
    `Error: Failed to install provider

Error while installing bpg/proxmox v0.111.1: the local package for
registry.terraform.io/bpg/proxmox 0.111.1 doesn't match any of the checksums
previously recorded in the dependency lock file`,
    /not the one that \.terraform\.lock\.hcl names/,
    /terraform -chdir=terraform providers lock/,
  ],
  [
    'of another machine',
    `Error: Failed to load plugin schemas

Error while loading schemas for plugin components: Failed to obtain provider
schema: Could not load the schema for provider
registry.terraform.io/bpg/proxmox: failed to instantiate provider
"registry.terraform.io/bpg/proxmox" to obtain schema: fork/exec
.terraform/providers/proxmox: permission denied..`,
    /the provider bpg\/proxmox does not start/,
    /remove \.terraform/,
  ],
];
for (const [name, text, cause, fix] of TERRAFORM)
  test(`Terraform: ${name}`, () => {
    const found = terraformTrouble(text);
    assert.match(found?.cause ?? '', cause);
    assert.match(found?.fix ?? '', fix);
  });

const PACKER: [string, string, RegExp][] = [
  [
    'no way to GitHub',
    'Failed getting the "github.com/hashicorp/proxmox" plugin:\nGet "https://api.github.com/…": dial tcp: no such host',
    /packer plugins install --path FILE github\.com\/hashicorp\/proxmox/,
  ],
  [
    'not installed',
    'Error: Missing plugins\n\nThe following plugins are required, but not installed:\n\n* github.com/hashicorp/proxmox >= 1.2.2',
    /^packer plugins install github\.com\/hashicorp\/proxmox$/,
  ],
];
for (const [name, text, fix] of PACKER)
  test(`Packer: ${name}`, () => assert.match(packerTrouble(text)?.fix ?? '', fix));
test('what is not known is not explained', () => {
  assert.equal(packerTrouble('Build finished after 2 minutes'), undefined);
});

test.run();
