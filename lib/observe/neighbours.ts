import { lastSeen } from '../deadline.ts';
import type { Answer, Readers } from '../ports/types.ts';
import { readPatiently } from './k3s.ts';

/**
 * Who has each address, as a host sees it: a machine that answers ARP has the address, whether it answers pings or not.
 * @returns in the order of `addresses`, undefined for one that nobody has
 */
export async function holdersOf(
  addresses: readonly string[],
  host: string,
  { ssh, clock }: Pick<Readers, 'ssh' | 'clock'>,
): Promise<Answer<(string | undefined)[]>> {
  const argv = ['sh', '-c', PROBE, 'sh', ...addresses];
  const look = async (): Promise<Answer<{ by?: string; undecided: boolean }[]>> => {
    const said = await readPatiently(ssh, host, argv, { deadline: 60 });
    if (!said.ok) return said;
    const lines = said.value.stdout.split('\n');
    return { ok: true, value: addresses.map((address) => holderIn(lines, address)) };
  };
  const isDecided = (seen: Awaited<ReturnType<typeof look>>): boolean =>
    !seen.ok || !seen.value.some(({ undecided }) => undecided);
  const seen = await lastSeen(DECIDED_SECONDS, look, isDecided, { clock, first: 1, most: 1 });
  return seen.ok ? { ok: true, value: seen.value.map(({ by }) => by) } : seen;
}

/**
 * What a kernel remembers of a machine that was just switched off is STALE; once used it is DELAY for five seconds,
 * and PROBE for three, before it is REACHABLE again or FAILED.
 */
const DECIDED_SECONDS = 9;

/**
 * All addresses at once, in one round trip: a free one takes the whole second that its ping waits. Where pings are not
 * answered, they make the kernel ask by ARP all the same.
 */
const PROBE =
  'for address; do (ping -c 1 -W 1 "$address" > /dev/null 2>&1 && echo "answers $address") & done; wait; ip neighbour show';

/** Who has an address, by its answer to a ping and a kernel's table, which may not be sure yet. */
function holderIn(lines: readonly string[], address: string): { by?: string; undecided: boolean } {
  const own = lines.filter((line) => line.startsWith(`${address} `));
  const answers = lines.includes(`answers ${address}`);
  const sure = own.find((line) => / (REACHABLE|PERMANENT)\b/.test(line)) ?? (answers ? own[0] : undefined);
  const mac = sure && / lladdr (\S+)/.exec(sure)?.[1];
  if (mac) return { by: `the machine with the MAC address ${mac}`, undecided: false };
  if (answers) return { by: 'a machine that answers pings', undecided: false };
  return { undecided: own.some((line) => / (STALE|DELAY|PROBE)\b/.test(line)) };
}
