import { contains, overlap, parseIp, parseSubnet, type Subnet } from '../../ledger/ip.ts';
import { atLeast } from '../../version.ts';
import type { ConfigProblem } from '../load.ts';
import { quorumNote } from '../quorum.ts';
import type { Config } from '../schema.ts';

/** Versions that go together, networks that are apart, and what a number of servers survives. */
export function k3sProblems(config: Config): ConfigProblem[] {
  return [...versions(config), ...networks(config), ...servers(config)];
}

/** Kubernetes 1.36 and newer need MetalLB 0.16.0. */
function versions({ k3s, metallb }: Config): ConfigProblem[] {
  if (!atLeast(k3s.version, [1, 36]) || atLeast(metallb.version, [0, 16])) return [];
  return [
    {
      path: ['metallb', 'version'],
      message: `MetalLB ${metallb.version} is too old for K3s ${k3s.version}`,
      fix: 'take 0.16.0 or newer',
    },
  ];
}

/** The networks of pods and services are nobody else's: what is inside of them a node could not reach. */
function networks({ k3s, network, nas, proxmox }: Config): ConfigProblem[] {
  const problems: ConfigProblem[] = [];
  const known: { name: string; subnet: Subnet }[] = [];
  const lab = parseSubnet(network.subnet);
  if (typeof lab !== 'string') known.push({ name: 'network.subnet', subnet: lab });
  const routed = [...proxmox.nodes, ...nas, ...network.dns.map((address) => ({ name: 'the DNS server', address }))];
  for (const key of ['cluster_cidr', 'service_cidr'] as const) {
    const path = ['k3s', key];
    const subnet = parseSubnet(k3s[key]);
    if (typeof subnet === 'string') {
      problems.push({ path, message: subnet, fix: `correct k3s.${key}` });
      continue;
    }
    for (const other of known.filter((one) => overlap(one.subnet, subnet)))
      problems.push({
        path,
        message: `${subnet.text} overlaps ${other.name} ${other.subnet.text}`,
        fix: 'make them disjoint',
      });
    for (const { name, address } of routed) {
      const ip = parseIp(address);
      if (ip && contains(subnet, ip) && !known.some((one) => contains(one.subnet, ip)))
        problems.push({ path, message: `${subnet.text} contains ${address} (${name})`, fix: 'take another network' });
    }
    known.push({ name: `k3s.${key}`, subnet });
  }
  return problems;
}

/** An even number of etcd members survives no more failures than one fewer does: it is built, and said. */
function servers(config: Config): ConfigProblem[] {
  const note = quorumNote(config);
  if (!note) return [];
  return [{ path: ['k3s', 'nodes'], warning: true, message: note.text, fix: note.fix ?? '' }];
}
