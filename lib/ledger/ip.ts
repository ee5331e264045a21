import { Address4, Address6 } from 'ip-address';

/**
 * Addresses as numbers with a family, so that nothing here knows how long an address is.
 * The library does the reading and writing; order and distance are bigint arithmetic.
 */
export type Ip = { family: 4 | 6; value: bigint };
export type Range = { first: Ip; last: Ip };
export type Subnet = Range & { prefix: number; text: string };

/** @returns undefined for what is not an address (leading zeros, a prefix, a port, …) */
export function parseIp(text: string): Ip | undefined {
  if (text.includes('/')) return undefined;
  try {
    const address = text.includes(':') ? new Address6(text) : new Address4(text);
    if (text.includes('%')) return undefined;
    return { family: text.includes(':') ? 6 : 4, value: address.bigInt() };
  } catch {
    return undefined;
  }
}

/** The canonical text: no leading zeros, IPv6 shortened. */
export function formatIp({ family, value }: Ip): string {
  return family === 4 ? Address4.fromBigInt(value).correctForm() : Address6.fromBigInt(value).correctForm();
}

/** A host as it stands in a URL: an IPv6 address is bracketed. */
export function inUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** @returns a sentence that says what is wrong when `text` is not a network */
export function parseSubnet(text: string): Subnet | string {
  const [address = '', length = '', ...more] = text.split('/');
  const ip = parseIp(address);
  if (!ip || more.length > 0 || !/^(0|[1-9]\d{0,2})$/.test(length))
    return `${text} is not a network, such as 10.20.11.0/24`;
  const bits = ip.family === 4 ? 32 : 128;
  const prefix = Number(length);
  if (prefix > bits) return `${text}: the prefix is at most /${bits}`;
  const size = 1n << BigInt(bits - prefix);
  const first = { family: ip.family, value: ip.value - (ip.value % size) };
  if (first.value !== ip.value) return `${text} has host bits set; did you mean ${formatIp(first)}/${prefix}?`;
  return { first, last: { family: ip.family, value: first.value + size - 1n }, prefix, text };
}

/** @returns a sentence that says what is wrong when `text` is not FIRST-LAST */
export function parseRange(text: string): Range | string {
  const [from = '', to = '', ...more] = text.split('-').map((part) => part.trim());
  const first = parseIp(from);
  const last = parseIp(to);
  if (!first || !last || more.length > 0 || first.family !== last.family)
    return `${text} is not a range, such as 10.20.11.80-10.20.11.84`;
  if (last.value < first.value) return `${text} ends before it starts; did you mean ${to}-${from}?`;
  return { first, last };
}

export function formatRange({ first, last }: Range): string {
  return `${formatIp(first)}-${formatIp(last)}`;
}

/** Addresses of another family are in no range. */
export function contains(range: Range, ip: Ip): boolean {
  return ip.family === range.first.family && ip.value >= range.first.value && ip.value <= range.last.value;
}

export function overlap(a: Range, b: Range): boolean {
  return a.first.family === b.first.family && a.first.value <= b.last.value && b.first.value <= a.last.value;
}

/** How many addresses a range has. */
export function sizeOf({ first, last }: Range): bigint {
  return last.value - first.value + 1n;
}
