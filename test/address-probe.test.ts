import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Lab } from '../lib/lab-context.ts';
import { addressOf } from '../lib/lookup.ts';
import { probeNetwork, readTaken } from '../lib/observe/addresses.ts';
import type { VmSeen } from '../lib/observe/vms.ts';
import type { Answer, Clock, Outcome } from '../lib/ports/types.ts';
import { fakePorts } from './fixtures/ports.ts';
import { testLab } from './hosts-lab.ts';
import { labOf, vm } from './provision-fixture.ts';

const test = suite('asking the network before an address is given');

const lab = labOf({ leased: true });
const [first, ...rest] = lab.config.k3s.nodes;
const address = addressOf(lab, first!.name);
const [node, other] = lab.config.proxmox.nodes.map(({ name }) => name);
const made = ({ vmid, name, node }: { vmid: number; name: string; node: string }): VmSeen => vm({ vmid, name, node });
const entry = (state: string): string => `${address} dev vmbr0 lladdr bc:24:11:00:00:01 ${state}\n`;
const free = `${address} dev vmbr0 FAILED\n`;
const taken = entry('REACHABLE');
const byMac = `${first!.name} ${address}: the machine with the MAC address bc:24:11:00:00:01, as ${node} sees it`;

/** A clock that sleeps in no time. */
function clock(): Clock {
  let now = 0;
  return {
    now: () => new Date(now),
    sleep: async (seconds) => {
      now += seconds * 1000;
    },
  };
}

/**
 * What is found where the Proxmox nodes say this, look by look, the last for ever; a node without it does not answer.
 * @returns it as a text, and the addresses of each look
 */
async function probed(
  says: Record<string, string[]>,
  { of = lab, vms = rest.map(made), limit }: { of?: Lab; vms?: VmSeen[]; limit?: string[] } = {},
): Promise<[string, string[][]]> {
  const asked: string[][] = [];
  const read = async (host: string, argv: readonly string[]): Promise<Answer<Outcome>> => {
    const stdout = says[host]?.[asked.length] ?? says[host]?.at(-1);
    if (stdout === undefined) return { ok: false, reason: 'no route to host' };
    asked.push(argv.slice(4));
    return { ok: true, value: { code: 0, stdout, stderr: '' } };
  };
  const { ssh } = fakePorts({ ssh: { read } });
  const seen = await probeNetwork(of, { ssh, clock: clock() }, vms, limit);
  return [[...seen.taken.map((one) => `${one.lease} ${one.address}: ${one.by}`), seen.unasked ?? ''].join(''), asked];
}

const probe = async (tables: Record<string, string>): Promise<string> =>
  (await probed(Object.fromEntries(Object.entries(tables).map(([name, table]) => [name, [table]]))))[0];

const looks: [string, string[], string, number][] = [
  ['reachable: taken at once', [taken], byMac, 1],
  ['permanent: taken at once', [entry('PERMANENT')], byMac, 1],
  ['a ping that is answered: taken at once', [`answers ${address}\n${entry('DELAY')}`], byMac, 1],
  [
    'a ping that is answered through a router',
    [`answers ${address}\n`],
    `${first!.name} ${address}: a machine that answers pings, as ${node} sees it`,
    1,
  ],
  ['just switched off', [entry('STALE'), entry('DELAY'), entry('PROBE'), free], '', 4],
  ['silent to pings, and there', [entry('STALE'), entry('DELAY'), taken], byMac, 3],
  ['reachable on another bridge', [`${entry('STALE')}${taken}`], byMac, 1],
  ['never sure', [entry('STALE')], '', 10],
  ['of others nothing is waited for', [entry('STALE').replace(address, '10.20.11.7')], '', 1],
];
for (const [name, says, found, times] of looks)
  test(`a kernel's table: ${name}`, async () => {
    const [seen, asked] = await probed({ [node!]: says });
    assert.is(seen, found);
    assert.is(asked.length, times);
  });

const every = lab.config.k3s.nodes.map(({ name }) => name);
const scopes: [string, Parameters<typeof probed>[1] & object, string[]][] = [
  ['new leases', { of: labOf(), vms: [] }, every],
  ['leases of a run that came no further', { vms: [] }, every],
  ['one VM is missing', {}, [first!.name]],
  ['--limit', { vms: [], limit: [first!.name] }, [first!.name]],
  ['--limit, whose VM is there', { limit: [rest[0]!.name] }, []],
  ['all are there', { vms: lab.config.k3s.nodes.map(made) }, []],
  ['one has no name yet', { vms: lab.config.k3s.nodes.map((one) => made({ ...one, name: '' })) }, []],
];
for (const [name, scope, names] of scopes)
  test(`who is asked for: ${name}`, async () => {
    const addresses = names.map((one) => addressOf(lab, one));
    const [, asked] = await probed({ [node!]: [''] }, scope);
    assert.equal(asked, addresses.length > 0 ? [addresses] : []);

    const { of = lab, vms = rest.map(made), limit } = scope;
    const web = vm({ vmid: 133, name: 'web', node: 'pve-01' });
    const config = Object.fromEntries(every.map((one, i) => [`ipconfig${i}`, `ip=${addressOf(lab, one)}/24`]));
    const reads: string[] = [];
    const get = async <T>(path: string) => {
      reads.push(path);
      return { ok: true as const, value: config as T };
    };
    const seen = await readTaken(of, { get }, [...vms, web], limit);
    assert.equal(
      seen.map(({ lease }) => lease),
      names,
    );
    assert.is(reads.length, names.length > 0 ? 1 : 0);
  });

test('a new lease of a VM that is there is compared with what other VMs have', async () => {
  const web = vm({ vmid: 133, name: 'web', node: 'pve-01' });
  const get = async <T>() => ({ ok: true as const, value: { ipconfig0: `ip=${address}/24` } as T });
  const seen = await readTaken(labOf(), { get }, [...lab.config.k3s.nodes.map(made), web]);
  assert.equal(seen, [{ lease: first!.name, address, by: 'VM web (133) on pve-01' }]);
});

test('one that nobody answers for is free', async () => assert.is(await probe({ [node!]: free }), ''));

test('a table with others in it', async () =>
  assert.is(await probe({ [node!]: taken.replace(address, `${address}9`) }), ''));

test('the next node is asked when the first does not answer', async () => {
  if (!other) return;
  assert.match(await probe({ [other]: taken }), `as ${other} sees it`);
});

test('when none answers, it is said', async () => assert.match(await probe({}), `${node}: no route to host`));

test('all of them in one command, which a shell understands', async () => {
  const hosts = await testLab();
  try {
    const { lab, ssh } = hosts;
    const asked = await hosts.start('pve-01', { user: 'root' });
    const holder = await hosts.start('k3s-cp-02');
    const { taken, unasked } = await probeNetwork(lab, { ssh, clock: clock() }, []);
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
