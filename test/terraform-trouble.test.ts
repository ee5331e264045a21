import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { terraformTrouble } from '../lib/plan/terraform-trouble.ts';

const test = suite('what a failure of Terraform means');

/** As Terraform frames an error without colours, in lines of its own. */
const framed = (text: string): string =>
  `╷\n│ Error: ${text.replaceAll('\n', '\n│ ')}\n│ \n│   with proxmox_virtual_environment_vm.node["k3s-cp-01"],\n│   on main.tf line 1, in resource "proxmox_virtual_environment_vm" "node":\n│    1: resource {\n│ \n╵`;

const cases: [what: string, output: string, cause: RegExp, fix: RegExp][] = [
  [
    'a privilege is missing',
    framed('error cloning VM: received an HTTP 403 response - Reason: Permission check\nfailed (/vms/9001, VM.Clone)'),
    /^the token \(or its owner\) lacks the privilege VM\.Clone on \/vms\/9001$/,
    /check\.ts --role/,
  ],
  [
    'one of several privileges is missing',
    'Error: received an HTTP 403 response - Reason: Permission check failed (/vms/200, VM.Config.Disk|VM.Config.CDROM)',
    /privilege VM\.Config\.Disk\|VM\.Config\.CDROM on \/vms\/200/,
    /--role/,
  ],
  ['403 without words', 'Error: received an HTTP 403 response - Reason: Forbidden', /may not do that/, /--role/],
  [
    'a token that is not known',
    'Error: received an HTTP 401 response - Reason: authentication failure',
    /does not know the token/,
    /PROXMOX_TOKEN_SECRET/,
  ],
  [
    'the lock of a VM',
    framed(
      `task "UPID:pve-01:00001000:qmclone" failed to complete with exit code: can't\nlock file '/var/lock/qemu-server/lock-9000.conf' - got timeout`,
    ),
    /something else was at work on VM 9000/,
    /run it again: what was made is imported/,
  ],
  [
    'the lock of a storage',
    "Error: cfs-lock 'storage-nas' error: got lock request timeout",
    /Proxmox was busy: storage-nas/,
    /again/,
  ],
  [
    'a VM that is locked',
    'Error: received an HTTP 500 response - Reason: VM is locked (clone)',
    /lock: clone/,
    /qm unlock/,
  ],
  [
    'a storage is full: ZFS',
    "Error: clone failed: zfs error: cannot create 'rpool/data/vm-200-disk-0': out of space",
    /a storage is full/,
    /make room/,
  ],
  [
    'a storage is full: files',
    'Error: qemu-img: error while writing: No space left on device',
    /a storage is full/,
    /room/,
  ],
  [
    'a storage is full: LVM',
    'Error: lvcreate: Volume group "pve" has insufficient free space (0 extents)',
    /a storage is full/,
    /room/,
  ],
  [
    'a VMID that was taken, on the same node',
    'Error: received an HTTP 500 response - Reason: unable to create VM 201: config file already exists',
    /the VMID 201 was taken by somebody else/,
    /nothing of theirs was touched/,
  ],
  [
    'a VMID that was taken, on another node',
    "Error: clone failed: unable to create VM 201 - VM 201 already exists on node 'pve-01'",
    /the VMID 201 was taken/,
    /names who has it/,
  ],
  ...[595, 596, 599, 502, 503].map((code): [string, string, RegExp, RegExp] => [
    `a node that went away: ${code}`,
    `Error: received an HTTP ${code} response - Reason: No route to host`,
    new RegExp(`could not be reached through the one that was asked \\(${code}\\)`),
    /--preflight/,
  ]),
  [
    'a certificate of another CA',
    'Error: failed to perform HTTP GET request (path: /version) - Reason: Get "https://10.20.11.11:8006/api2/json/version": tls: failed to verify certificate: x509: certificate signed by unknown authority',
    /not of proxmox\.ca_file/,
    /pve-root-ca\.pem/,
  ],
  [
    'no API',
    'Error: Get "https://10.20.11.11:8006/api2/json/version": dial tcp 10.20.11.11:8006: connect: connection refused',
    /API at 10\.20\.11\.11:8006 did not answer \(connection refused\)/,
    /node is up/,
  ],
  [
    'a connection that broke',
    'Error: failed to perform HTTP POST request - Reason: Post "https://10.20.11.11:8006/clone": EOF',
    /may have been done all the same/,
    /repeats nothing/,
  ],
  ['the state is in use', framed('Error acquiring the state lock'), /another Terraform works/, /force-unlock/],
  [
    'a GPU without a mapping',
    "Error: start failed: PCI device mapping not found for 'rtx4000ada'",
    /the resource mapping rtx4000ada/,
    /Resource Mappings/,
  ],
  [
    'a template that is gone',
    "Error: received an HTTP 500 response - Reason: Configuration file 'nodes/pve-02/qemu-server/9001.conf' does not exist",
    /template 9001 is not on pve-02 any more/,
    /build-template/,
  ],
  [
    'a template on another node',
    "Error: unable to find configuration file for VM 9000 on node 'pve-02'",
    /template 9000 is not on pve-02/,
    /build-template/,
  ],
  [
    'a storage that is not there',
    "Error: storage 'local-zfs' is not available on node 'pve-02'",
    /the storage local-zfs/,
    /Storage/,
  ],
  [
    'too little memory',
    'Error: start failed: kvm: cannot set up guest memory: Cannot allocate memory',
    /memory/,
    /memory_gib/,
  ],
  [
    'a smaller disk',
    'Error: Cannot shrink local-zfs:vm-200-disk-0 in VM 200, it is not supported!',
    /smaller/,
    /disk_gib/,
  ],
  [
    'a task that never ends',
    'Error: timeout while waiting for task "UPID:pve-01:1" to complete',
    /took longer/,
    /Tasks/,
  ],
  [
    'no registry',
    'Error: Failed to query available provider packages\n\nCould not retrieve the list of available versions for provider bpg/proxmox: could not connect to registry.terraform.io',
    /registry could not be reached/,
    /mirror/,
  ],
  ['a plan that is old', 'Error: Saved plan is stale', /changed by somebody else/, /again/],
];
for (const [what, output, cause, fix] of cases)
  test(what, () => {
    const found = terraformTrouble(output);
    assert.match(found?.cause ?? '', cause);
    assert.match(found?.fix ?? '', fix);
  });

test('several VMs that failed for different reasons: each reason once', () => {
  const output = ['out of space', 'out of space', 'VM is locked (backup)', 'something else'].map(framed).join('\n');
  assert.equal(
    terraformTrouble(output)?.cause,
    'a storage is full; a task of Proxmox works on the VM, or was killed (lock: backup)',
  );
});

test('what is not known has no cause', () => {
  assert.equal(terraformTrouble(framed('Unsupported argument')), undefined);
  assert.equal(terraformTrouble(''), undefined);
});

test.run();
