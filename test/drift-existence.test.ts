import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { driftFindings } from '../lib/plan/check-drift.ts';
import { driftOf } from '../lib/plan/drift.ts';
import { driftText } from '../lib/plan/drift-text.ts';
import { agreeing, type Sources } from './drift-fixture.ts';

const test = suite('VMs that one of the sources does not have');

/** What is told when the sources were changed so. */
function told(change: (sources: Sources) => void): string[] {
  const sources = agreeing();
  change(sources);
  return driftOf(sources).map((drift) => `${driftText(drift)} [${drift.odd}]`);
}

const withoutNode = ({ config, leases }: Sources): void => {
  config.k3s.nodes = config.k3s.nodes.slice(1);
  Object.assign(leases, { length: 0 }, leases.slice(1), { length: 2 });
};

test('each case, in words', () => {
  const cases: [string, (sources: Sources) => void, string[]][] = [
    [
      'deleted in Proxmox',
      ({ proxmox }) => proxmox.shift(),
      [
        'k3s-cp-01: Proxmox does not have it; homelab.yaml wants it, state knows VM 200 (it was deleted by hand) [Proxmox]',
      ],
    ],
    [
      'lost by the state',
      ({ state }) => state.shift(),
      ['k3s-cp-01: state does not know it; homelab.yaml wants it, Proxmox has VM 200 on pve-02 [state]'],
    ],
    [
      'taken out of homelab.yaml',
      withoutNode,
      ['k3s-cp-01: homelab.yaml does not have it; state knows VM 200, Proxmox has VM 200 on pve-02 [homelab.yaml]'],
    ],
    [
      'known to the state only',
      (sources) => {
        withoutNode(sources);
        sources.proxmox.shift();
      },
      ['k3s-cp-01: state knows VM 200; homelab.yaml does not have it, Proxmox does not have it [state]'],
    ],
    [
      'with our mark on Proxmox, and nobody knows it',
      (sources) => {
        withoutNode(sources);
        sources.state.shift();
      },
      [
        'k3s-cp-01: Proxmox has VM 200 on pve-02; homelab.yaml does not have it, state does not know it (it has the mark of this lab in its notes, and nobody knows it) [Proxmox]',
      ],
    ],
    [
      'a clone made by hand',
      ({ proxmox }) => proxmox.unshift({ ...proxmox[0]!, vmid: 300, name: 'copy' }),
      [
        'k3s-cp-01: Proxmox has VM 200 on pve-02, and VM 300 ("copy") on pve-02; homelab.yaml wants it, state knows VM 200 (two VMs have its mark in their notes: a clone made by hand has the address too) [Proxmox]',
      ],
    ],
    [
      'the same VM twice in the state',
      ({ state }) => {
        state.push({ ...state[0]!, name: 'k3s-cp-09' });
      },
      [
        'k3s-cp-09: homelab.yaml does not have it; state knows VM 200, Proxmox has VM 200 on pve-02 [homelab.yaml]',
        'k3s-cp-09: state knows VM 200, which is that of k3s-cp-01 too [state]',
      ],
    ],
    [
      'a lease of a node that is gone, and one given twice',
      ({ leases }) => Object.assign(leases, [...leases, { ...leases[0]!, name: 'k3s-cp-07' }]),
      [
        'k3s-cp-07: homelab.lock.yaml keeps 10.20.11.80; homelab.yaml has no such node [homelab.lock.yaml]',
        'k3s-cp-07: homelab.lock.yaml keeps 10.20.11.80, which k3s-cp-01 has too [homelab.lock.yaml]',
      ],
    ],
    [
      'a lease that is gone',
      ({ leases }) => Object.assign(leases, { length: 0 }, leases.slice(1)),
      [
        'k3s-cp-01: address: homelab.lock.yaml disagrees: no lease; state, Proxmox and guest agent say 10.20.11.80 [homelab.lock.yaml]',
      ],
    ],
    [
      "a stranger's VM at its VMID, which the state takes for ours",
      ({ proxmox }) => Object.assign(proxmox[0]!, { name: 'web', description: 'mine', agent: [], config: {} }),
      [
        'k3s-cp-01: Proxmox does not have it; homelab.yaml wants it, state knows VM 200 (it was deleted by hand) [Proxmox]',
      ],
    ],
    [
      'a VM of another lab, with an address of its own',
      ({ proxmox }) => {
        const other = { ...proxmox[0]!, vmid: 300, description: 'homelab:other/k3s-cp-01', agent: [] };
        proxmox.push({ ...other, config: { ...other.config, ipconfig0: 'ip=10.20.11.99/24' } });
      },
      [],
    ],
    [
      'a VM of another lab, with an address of ours',
      ({ proxmox }) => {
        proxmox.push({ ...proxmox[0]!, vmid: 300, name: 'web', description: 'homelab:other/web' });
      },
      [
        'k3s-cp-01: Proxmox has VM 300 ("web") on pve-02 with it too; homelab.lock.yaml gives 10.20.11.80 to it [Proxmox]',
      ],
    ],
  ];
  for (const [name, change, expected] of cases) assert.deepEqual(told(change), expected, name);
});

test('what could not be looked at says nothing', () => {
  const cases: [string, (sources: Sources) => void][] = [
    ['Proxmox is away', (sources) => Object.assign(sources, { proxmox: undefined })],
    ['there is no state', (sources) => Object.assign(sources, { state: undefined })],
    ['its node is away', ({ proxmox }) => Object.assign(proxmox[0]!, { config: undefined, running: false, name: '' })],
  ];
  for (const [name, change] of cases) assert.deepEqual(told(change), [], name);
});

test('--limit names the VMs; what belongs to none of them is left out', () => {
  const sources = agreeing();
  sources.proxmox.splice(0, 2);
  sources.leases = [...sources.leases, { ...sources.leases[0]!, name: 'gone', address: '10.20.11.84' }];
  assert.deepEqual(
    driftOf({ ...sources, limit: ['k3s-cp-02'] }).map(({ vm }) => vm),
    ['k3s-cp-02'],
  );
  assert.equal(driftOf(sources).length, 3);
});

test('findings: agreement, VMs that were never made, a state that is missing or unreadable', () => {
  const levels = (change: (sources: Sources) => void, more = {}): string[] => {
    const sources = agreeing();
    change(sources);
    return driftFindings({ ...sources, ...more }, []).findings.map(({ level, text }) => `${level}: ${text}`);
  };
  const fresh = (sources: Sources): void => {
    Object.assign(sources, { state: undefined, proxmox: [], leases: [] });
  };
  const noState = { text: 'there is no terraform.tfstate', missing: true };
  assert.deepEqual(
    levels(() => {}),
    ["ok: homelab.yaml, leases, Terraform's state and Proxmox agree on every VM"],
  );
  assert.deepEqual(levels(fresh, { noState }), [
    'waiting: k3s-cp-01, k3s-cp-02, k3s-gpu-01 wait for provision: never made',
  ]);
  assert.deepEqual(
    levels((sources) => Object.assign(sources, { state: undefined }), { noState }),
    ['drift: there is no terraform.tfstate, and Proxmox has VMs of this lab: k3s-cp-01, k3s-cp-02, k3s-gpu-01'],
  );
  const unreadable = { text: 'it cannot be read', missing: false };
  assert.deepEqual(
    levels((sources) => Object.assign(sources, { state: undefined }), { noState: unreadable }),
    ['broken: it cannot be read'],
  );
});

test.run();
