import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { allocateAll, openLedger } from '../lib/ledger/ledger.ts';
import { probeNetwork } from '../lib/observe/addresses.ts';
import type { VmSeen } from '../lib/observe/vms.ts';
import type { Answer, Outcome } from '../lib/ports/types.ts';
import { smallLab } from './fixtures/lab.ts';
import { fakePorts } from './fixtures/ports.ts';
import { testLab } from './hosts-lab.ts';

const test = suite('asking the network before an address is given');

const config = smallLab();
const newLeases = allocateAll(openLedger(config, []), config.k3s.nodes, '2026-11-23').given;
const lease = newLeases[0]!;
const [node, other] = config.proxmox.nodes.map(({ name }) => name);
const free = `${lease.address} dev vmbr0 FAILED\n`;
const taken = `${lease.address} dev vmbr0 lladdr bc:24:11:00:00:01 REACHABLE\n`;

/** What is found where the Proxmox nodes have these neighbour tables; a node without one does not answer. */
async function probe(tables: Record<string, string>, vms: VmSeen[] = []): Promise<string> {
  const read = async (host: string): Promise<Answer<Outcome>> => {
    const stdout = tables[host];
    return stdout === undefined
      ? { ok: false, reason: 'no route to host' }
      : { ok: true, value: { code: 0, stdout, stderr: '' } };
  };
  const seen = await probeNetwork({ config, newLeases }, fakePorts({ ssh: { read } }).ssh, vms);
  return [...seen.taken.map((one) => `${one.lease} ${one.address}: ${one.by}`), seen.unasked ?? ''].join('');
}

test('one that nobody answers for is free', async () => assert.is(await probe({ [node!]: free }), ''));

test('one that somebody answers for by ARP is taken, though he answers no ping', async () =>
  assert.is(
    await probe({ [node!]: taken }),
    `${lease.name} ${lease.address}: the machine with the MAC address bc:24:11:00:00:01, as ${node} sees it`,
  ));

test('a table with others in it', async () =>
  assert.is(await probe({ [node!]: taken.replace(lease.address, `${lease.address}9`) }), ''));

test('the next node is asked when the first does not answer', async () => {
  if (!other) return;
  assert.match(await probe({ [other]: taken }), `as ${other} sees it`);
});

test('when none answers, it is said', async () => assert.match(await probe({}), `${node}: no route to host`));

test('nothing is asked when every VM is there', async () => {
  const vm = { vmid: 1, node: node!, kind: 'qemu', template: false, running: true, description: '' } as const;
  const all = newLeases.map(({ name }): VmSeen => ({ ...vm, name }));
  assert.is(await probe({}, all), '');
});

test('all of them in one command, which a shell understands', async () => {
  const hosts = await testLab();
  try {
    const { lab, ssh } = hosts;
    const asked = await hosts.start('pve-01', { user: 'root' });
    const holder = await hosts.start('k3s-cp-02');
    const { taken, unasked } = await probeNetwork(lab, ssh, []);
    assert.is(unasked, undefined);
    assert.equal(
      taken.map(({ lease, address }) => `${lease} ${address}`),
      [`k3s-cp-02 ${holder.address}`],
    );
    assert.is(asked.commands.length, 1);
  } finally {
    await hosts.close();
  }
});

test.run();
