import { clashOf, ownFacts, type PortProbe, skewOf, stateOf, type Trouble, tokenIsEqual } from './k3s-trouble.ts';

/** Columns of a terminal, less those in front of each line of an error's output. */
const WIDTH = 96;
const LABEL = 10;
/** Lines of the journal, and how far one is wrapped. */
const JOURNAL = 10;
const WRAP = 3;
/** Lines of nodes, two in each. */
const NODES = 3;

/** What is known of a node that does not come up, as a person reads it: one screen. */
export function troubleScreen(trouble: Trouble): string {
  const { node, role, unit, address, restarts = 0 } = trouble;
  const state = stateOf(trouble);
  const again = restarts > 0 ? `, started again ${restarts} times` : '';
  return [
    `${node} (${address}), ${role}: ${unit} is ${state || 'not known'}${again}`,
    ...row('clock', clock(trouble)),
    ...row('ports', ...ports(trouble)),
    ...row('token', token(trouble)),
    ...row('name', name(trouble)),
    ...row('disk', disk(trouble)),
    ...row('etcd', ...etcd(trouble)),
    ...row('nodes', ...nodes(trouble)),
    ...row('journal', ...journalTail(trouble.journal)),
  ].join('\n');
}

function row(label: string, ...lines: string[]): string[] {
  return lines.map((line, index) => ` ${(index === 0 ? label : '').padEnd(LABEL)}${line}`);
}

function clock(trouble: Trouble): string {
  if (!ownFacts(trouble)) return 'not known: it does not answer';
  const skew = skewOf(trouble);
  return Math.abs(skew) < 2 ? 'as the others' : `${Math.abs(skew)} s ${skew < 0 ? 'behind' : 'ahead of'} the others`;
}

/** A line for each way, from and to the servers, and one for the network of the pods. */
function ports({ node, ports: probes, overlay }: Trouble): string[] {
  const ways = new Map<string, PortProbe[]>();
  for (const probe of probes) {
    const way = `${probe.from} → ${probe.to}`;
    ways.set(way, [...(ways.get(way) ?? []), probe]);
  }
  const width = Math.max(...[...ways.keys()].map(({ length }) => length), 0);
  const lines = [...ways].map(
    ([way, tried]) => `${way.padEnd(width)}  ${tried.map(({ port, answer }) => `${port} ${answer}`).join(' · ')}`,
  );
  const pods =
    overlay.length > 0
      ? overlay.map(({ from, answer }) => `${from} ${answer}`).join(' · ')
      : 'not tried: the node has no network of pods yet';
  return [
    ...(lines.length > 0 ? lines : [`${node} is the only server`]),
    `8472/udp, through it to the kubelet: ${pods}`,
  ];
}

function token(trouble: Trouble): string {
  const equal = tokenIsEqual(trouble);
  if (equal === undefined) return 'no other server to compare with';
  return equal ? 'equal to that of the cluster' : 'DIFFERS from that of the cluster';
}

function name(trouble: Trouble): string {
  const hostname = ownFacts(trouble)?.hostname;
  const clash = clashOf(trouble);
  if (clash === 'Node') return 'the cluster knows ANOTHER machine by this name';
  if (clash === 'password') return 'the cluster REMEMBERS another machine by this name';
  const known = trouble.seen.cluster.answers ? 'no other machine has this name' : 'the cluster cannot be asked';
  return hostname && hostname !== trouble.node ? `it calls itself ${hostname}; ${known}` : known;
}

function disk(trouble: Trouble): string {
  const facts = ownFacts(trouble);
  if (facts?.freeKib === undefined) return 'not known';
  return `${(facts.freeKib / 2 ** 20).toFixed(1)} GiB free under /var/lib${facts.readOnly ? ', READ-ONLY' : ''}`;
}

function etcd({ seen }: Trouble): string[] {
  const said = Object.entries(seen.hosts).flatMap(([host, look]) => {
    if (!look.reachable || look.facts.leader === undefined) return [];
    const { members, leader } = look.facts;
    const counted = members === undefined ? '' : `, ${members} member${members === 1 ? '' : 's'}`;
    return [`${host}: ${leader ? 'has a leader' : 'has NO leader'}${counted}`];
  });
  return said.length > 0 ? [said.join(' · ')] : ['runs on no server'];
}

/** How far it got: what runs where. */
function nodes({ seen }: Trouble): string[] {
  const { cluster } = seen;
  const said = Object.entries(seen.hosts).map(([host, look]) => {
    const node = cluster.answers ? cluster.nodes.find((one) => one.name === host) : undefined;
    if (node) return `${host} ${node.version} ${node.ready ? 'Ready' : 'not Ready'}`;
    if (!look.reachable) return `${host} does not answer`;
    return `${host} ${look.facts.version ? `has ${look.facts.version}` : 'has no K3s'}`;
  });
  const lines = Array.from({ length: Math.ceil(said.length / 2) }, (_, index) => said.slice(2 * index, 2 * index + 2));
  const shown = lines.slice(0, NODES).map((line) => line.join(' · '));
  return lines.length > NODES ? [...shown, `and ${said.length - 2 * NODES} more`] : shown;
}

/** The last lines, without the time that K3s puts in front of each. */
function journalTail(journal: string): string[] {
  const lines = journal
    .split('\n')
    .map((line) => line.replace(/^time="[^"]*" /, '').trimEnd())
    .filter(Boolean);
  if (lines.length === 0) return ['empty'];
  return lines.slice(-JOURNAL).flatMap((line) => wrapped(line, WIDTH - LABEL - 1));
}

function wrapped(line: string, width: number): string[] {
  const parts = line.match(new RegExp(`.{1,${width}}`, 'g')) ?? [];
  return parts.length > WRAP ? [...parts.slice(0, WRAP - 1), `${parts[WRAP - 1]?.slice(0, width - 1)}…`] : parts;
}
