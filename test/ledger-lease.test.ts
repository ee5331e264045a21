import * as fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import type { Config } from '../lib/config/schema.ts';
import { contains, parseIp } from '../lib/ledger/ip.ts';
import { allocateAll, type Ledger, openLedger, rangeName } from '../lib/ledger/ledger.ts';
import type { Lease } from '../lib/ledger/lockfile.ts';
import { smallLab, wideLab } from './fixtures/lab.ts';

const DAY = '2026-11-23';
const test = suite('leases');

test('every node gets the lowest free address of the range of its role', () => {
  const { given, problems } = allocateAll(openLedger(smallLab(), []), smallLab().k3s.nodes, DAY);
  assert.equal(problems, []);
  assert.equal(given, [
    { name: 'cp-01', address: '192.0.2.80', role: 'server', since: DAY },
    { name: 'gpu-01', address: '192.0.2.85', role: 'agent', since: DAY },
    { name: 'worker-01', address: '192.0.2.86', role: 'agent', since: DAY },
  ]);
});

test('a gap is filled, and nobody moves', () => {
  const first = allocateAll(openLedger(smallLab(), []), agents('a', 'b', 'c'), DAY).ledger;
  const { given, ledger } = allocateAll(without(smallLab(), first, 'b'), agents('d', 'a', 'e', 'c'), DAY);
  assert.equal(
    given.map(({ name, address }) => `${name} ${address}`),
    ['d 192.0.2.86', 'e 192.0.2.88'],
  );
  assert.is(ledger.leases.find(({ name }) => name === 'c')?.address, '192.0.2.87');
});

test('what is fixed inside of a range is a problem, and is not given away', () => {
  const config = smallLab();
  config.network.hosts.push({ name: 'printer', address: '192.0.2.85' });
  const ledger = openLedger(config, []);
  assert.is(ledger.problems.length, 1);
  assert.equal(lease(ledger, 'a').address, '192.0.2.86');
});

test('one more than fits gets a problem with the range, and the others their addresses', () => {
  const wanted = Array.from({ length: 7 }, (_, i) => ({ name: `cp-0${i}`, role: 'server' as const }));
  const { given, problems } = allocateAll(openLedger(smallLab(), []), wanted, DAY);
  assert.is(given.length, 5);
  assert.equal(problems[0], {
    path: ['network', 'ranges', 'server'],
    message: 'no address is left for cp-05: 192.0.2.80-192.0.2.84 is full',
    fix: 'widen the range, or release a lease: npx tsx scripts/network.ts release NAME',
  });
});

test('a lease that exists stays as it is; without it the lowest address is given', () => {
  const ledger = openLedger(smallLab(), [{ name: 'a', address: '192.0.2.90', role: 'agent', since: '2020-01-01' }]);
  assert.is(lease(ledger, 'a').address, '192.0.2.90');
  assert.is(lease(without(smallLab(), ledger, 'a'), 'a').address, '192.0.2.85');
});

test('leases that contradict homelab.yaml are told, each with the command that mends it', () => {
  const cases: [Partial<Lease>, string][] = [
    [{ address: '192.0.3.85' }, '192.0.3.85 is outside the subnet 192.0.2.0/24'],
    [{ address: '192.0.2.255' }, '192.0.2.255 is the broadcast address of 192.0.2.0/24'],
    [{ address: '192.0.2.0' }, '192.0.2.0 is the network address of 192.0.2.0/24'],
    [{ address: '192.0.2.11' }, 'address 192.0.2.11 is used by both pve-01 (Proxmox node) and worker-01'],
    [{ address: '192.0.2.1' }, 'address 192.0.2.1 is used by both gateway (router) and worker-01'],
    [{ address: '192.0.2.210' }, '192.0.2.210 is inside metallb.pool 192.0.2.200-192.0.2.220'],
    [{ address: '192.0.2.160' }, '192.0.2.160 is inside network.dhcp[0] 192.0.2.150-192.0.2.199'],
    [{ address: '192.0.2.81' }, '192.0.2.81 is inside network.ranges.server 192.0.2.80-192.0.2.84'],
    [{ address: 'x' }, '"x" is not an IP address'],
    [{ role: 'server', address: '192.0.2.80' }, '192.0.2.80 was given to it as server, and homelab.yaml says agent'],
  ];
  for (const [change, said] of cases) {
    const wrong: Lease = { name: 'worker-01', address: '192.0.2.85', role: 'agent', since: DAY, ...change };
    assert.equal(openLedger(smallLab(), [wrong]).problems, [
      {
        message: `homelab.lock.yaml: lease of worker-01: ${said}`,
        fix: 'npx tsx scripts/network.ts release worker-01',
      },
    ]);
  }
});

test('two leases of one name, or of one address, are told', () => {
  const one: Lease = { name: 'a', address: '192.0.2.85', role: 'agent', since: DAY };
  const messages = (...leases: Lease[]): string[] => openLedger(smallLab(), leases).problems.map((p) => p.message);
  assert.equal(messages(one, { ...one, address: '192.0.2.86' }), [
    'homelab.lock.yaml: lease of a: there are two of this name',
  ]);
  assert.equal(messages(one, { ...one, name: 'b' }), [
    'homelab.lock.yaml: lease of b: address 192.0.2.85 is used by both a (lease) and b',
  ]);
});

test('a lease whose node is gone stays; one outside of a range that was moved stays too', () => {
  const gone: Lease = { name: 'gone', address: '192.0.2.85', role: 'agent', since: DAY };
  const moved: Lease = { name: 'worker-01', address: '192.0.2.120', role: 'agent', since: DAY };
  const ledger = openLedger(smallLab(), [gone, moved]);
  assert.equal(ledger.problems, []);
  assert.is(lease(ledger, 'gpu-01').address, '192.0.2.86');
});

test('a DNS server may be another host, or a service of the cluster', () => {
  for (const address of ['192.0.2.20', '192.0.2.21', '192.0.2.200', '198.51.100.1'])
    assert.equal(
      openLedger(
        smallLab((raw) => raw.network.dns.push(address)),
        [],
      ).problems,
      [],
    );
});

test('IPv6 is leased, refused and written like IPv4', () => {
  const config = wideLab(['a', 'b'], 'fd00:10::/64');
  const { ledger, given } = allocateAll(openLedger(config, []), config.k3s.nodes, DAY);
  assert.equal(ledger.problems, []);
  assert.equal(
    given.map(({ address }) => address),
    ['fd00:10::50', 'fd00:10::100', 'fd00:10::101'],
  );
  const said = (address: string): string[] =>
    openLedger(config, [{ name: 'a', address, role: 'agent', since: DAY }]).problems.map(({ message }) => message);
  assert.match(said('FD00:10:0::0015')[0]!, 'address fd00:10::15 is used by both kvm-01 (host) and a');
  assert.match(said('fd00:11::1')[0]!, 'fd00:11::1 is outside the subnet fd00:10::/64');
  assert.match(said('fd00:10::')[0]!, 'fd00:10:: is the all-routers address of fd00:10::/64');
  assert.match(said('10.0.0.9')[0]!, '10.0.0.9 is outside the subnet fd00:10::/64');
  assert.equal(said('fd00:10::ffff'), []);
});

const properties = suite('leases, whatever happens');

const config = smallLab();
/** Nodes come, go and change places; after each change the ledger is opened again and gives what is missing. */
const history = fc.array(fc.uniqueArray(fc.integer({ min: 0, max: 40 }), { maxLength: 15 }), { maxLength: 12 });

properties('never two holders of one address, and a lease never moves', () => {
  fc.assert(
    fc.property(history, fc.boolean(), (states, forget) => {
      let leases: readonly Lease[] = [];
      const given = new Map<string, string>();
      for (const state of states) {
        const wanted = state.map((n) => ({
          name: `n${n}`,
          role: n % 5 === 0 ? ('server' as const) : ('agent' as const),
        }));
        let ledger = openLedger(config, leases);
        if (forget)
          for (const { name } of leases) if (!wanted.some((w) => w.name === name)) ledger = free(ledger, name);
        ({ ledger } = allocateAll(ledger, wanted, DAY));
        leases = ledger.leases;
        assert.is(new Set(leases.map(({ address }) => address)).size, leases.length, 'two have one address');
        assert.equal(openLedger(config, leases).problems, []);
        for (const { name, address } of leases) assert.is(given.get(name) ?? address, address, `${name} moved`);
        for (const { name, address } of leases) given.set(name, address);
      }

      function free(ledger: Ledger, name: string): Ledger {
        given.delete(name);
        return without(config, ledger, name);
      }
    }),
    { numRuns: 60 },
  );
});

properties('what is given is the lowest address of the range that nobody has', () => {
  const taken = fc.uniqueArray(fc.integer({ min: 85, max: 99 }), { maxLength: 14 });
  const range = openLedger(config, []).blocks.find(({ name }) => name === rangeName('agent'))!.range;
  fc.assert(
    fc.property(taken, (numbers) => {
      const leases = numbers.map((n): Lease => ({ name: `n${n}`, address: `192.0.2.${n}`, role: 'agent', since: DAY }));
      const ip = parseIp(lease(openLedger(config, leases), 'new').address)!;
      const lowest = Array.from({ length: 15 }, (_, i) => 85 + i).find((n) => !numbers.includes(n));
      assert.ok(contains(range, ip));
      assert.is(Number(ip.value & 255n), lowest);
    }),
  );
});

function agents(...names: string[]): { name: string; role: 'agent' }[] {
  return names.map((name) => ({ name, role: 'agent' }));
}

function lease(ledger: Ledger, name: string): Lease {
  const { ledger: given, problems } = allocateAll(ledger, [{ name, role: 'agent' }], DAY);
  const found = given.leases.find((one) => one.name === name);
  if (!found) throw new Error(problems[0]?.message);
  return found;
}

/** The ledger as it is after `network release`. */
function without(config: Config, { leases }: Ledger, name: string): Ledger {
  return openLedger(
    config,
    leases.filter((one) => one.name !== name),
  );
}

test.run();
properties.run();
