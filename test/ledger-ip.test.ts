import * as fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  contains,
  formatIp,
  formatRange,
  type Ip,
  overlap,
  parseIp,
  parseRange,
  parseSubnet,
  sizeOf,
} from '../lib/ledger/ip.ts';

const test = suite('addresses');

test('what is an address, and how it is written', () => {
  const cases: [string, string | undefined][] = [
    ['10.20.11.1', '10.20.11.1'],
    ['0.0.0.0', '0.0.0.0'],
    ['255.255.255.255', '255.255.255.255'],
    ['10.20.11', undefined],
    ['10.20.11.256', undefined],
    ['010.20.11.1', undefined],
    ['0x0a.1.1.1', undefined],
    [' 10.20.11.1', undefined],
    ['10.20.11.1/24', undefined],
    ['10.20.11.1:22', undefined],
    ['', undefined],
    ['k3s-cp-01', undefined],
    ['fd00::1', 'fd00::1'],
    ['FD00:0:0::0001', 'fd00::1'],
    ['fd00:::1', undefined],
    ['fe80::1%eth0', undefined],
  ];
  for (const [text, written] of cases) assert.is(parseIp(text) && formatIp(parseIp(text)!), written, text);
});

test('what is a network', () => {
  const cases: [string, string | [string, string]][] = [
    ['10.20.11.0/24', ['10.20.11.0', '10.20.11.255']],
    ['10.20.11.4/31', ['10.20.11.4', '10.20.11.5']],
    ['10.20.11.7/32', ['10.20.11.7', '10.20.11.7']],
    ['fd00:10:20:11::/64', ['fd00:10:20:11::', 'fd00:10:20:11:ffff:ffff:ffff:ffff']],
    ['10.20.11.7/24', '10.20.11.7/24 has host bits set; did you mean 10.20.11.0/24?'],
    ['fd00::1/64', 'fd00::1/64 has host bits set; did you mean fd00::/64?'],
    ['10.20.11.0/33', '10.20.11.0/33: the prefix is at most /32'],
    ['fd00::/129', 'fd00::/129: the prefix is at most /128'],
    ['10.20.11.0', '10.20.11.0 is not a network, such as 10.20.11.0/24'],
    ['10.20.11.0/', '10.20.11.0/ is not a network, such as 10.20.11.0/24'],
    ['10.20.11.0/024', '10.20.11.0/024 is not a network, such as 10.20.11.0/24'],
    ['10.20.11.0/24/24', '10.20.11.0/24/24 is not a network, such as 10.20.11.0/24'],
    ['lab/24', 'lab/24 is not a network, such as 10.20.11.0/24'],
  ];
  for (const [text, expected] of cases) {
    const subnet = parseSubnet(text);
    assert.equal(typeof subnet === 'string' ? subnet : [formatIp(subnet.first), formatIp(subnet.last)], expected);
  }
});

test('what is a range', () => {
  const cases: [string, string][] = [
    ['10.0.0.1-10.0.0.9', '10.0.0.1-10.0.0.9 (9)'],
    ['10.0.0.1 - 10.0.0.1', '10.0.0.1-10.0.0.1 (1)'],
    ['fd00::1-fd00::1:0', 'fd00::1-fd00::1:0 (65536)'],
    ['10.0.0.9-10.0.0.1', '10.0.0.9-10.0.0.1 ends before it starts; did you mean 10.0.0.1-10.0.0.9?'],
    ['10.0.0.1', '10.0.0.1 is not a range, such as 10.20.11.80-10.20.11.84'],
    ['10.0.0.1-9', '10.0.0.1-9 is not a range, such as 10.20.11.80-10.20.11.84'],
    ['10.0.0.1-fd00::1', '10.0.0.1-fd00::1 is not a range, such as 10.20.11.80-10.20.11.84'],
    ['10.0.0.1-10.0.0.2-10.0.0.3', '10.0.0.1-10.0.0.2-10.0.0.3 is not a range, such as 10.20.11.80-10.20.11.84'],
  ];
  for (const [text, expected] of cases) {
    const range = parseRange(text);
    assert.is(typeof range === 'string' ? range : `${formatRange(range)} (${sizeOf(range)})`, expected);
  }
});

test('every address is read as it was written', () => {
  const ip = fc.oneof(
    fc.bigInt({ min: 0n, max: 2n ** 32n - 1n }).map((value): Ip => ({ family: 4, value })),
    fc.bigInt({ min: 0n, max: 2n ** 128n - 1n }).map((value): Ip => ({ family: 6, value })),
  );
  fc.assert(fc.property(ip, (one) => assert.equal(parseIp(formatIp(one)), one)));
});

test('ranges overlap exactly when an address is in both', () => {
  const end = fc.integer({ min: 0, max: 12 });
  const range = fc.tuple(end, end).map(([a, b]) => {
    const ip = (value: number): Ip => ({ family: 4, value: BigInt(value) });
    return { first: ip(Math.min(a, b)), last: ip(Math.max(a, b)) };
  });
  fc.assert(
    fc.property(range, range, (a, b) => {
      const all = Array.from({ length: 13 }, (_, value): Ip => ({ family: 4, value: BigInt(value) }));
      assert.is(
        overlap(a, b),
        all.some((ip) => contains(a, ip) && contains(b, ip)),
      );
    }),
  );
});

test('the families are apart', () => {
  assert.not(contains({ first: parseIp('::')!, last: parseIp('::ff')! }, parseIp('0.0.0.1')!));
});

test.run();
