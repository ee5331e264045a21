import { quorum } from '../config/quorum.ts';
import { CONFIG_FILE, TOKEN } from '../render/k3s-config.ts';
import { factsOf } from './k3s-join.ts';
import { type Sign, signIn } from './k3s-signs.ts';
import { clashOf, ownFacts, type PortProbe, skewOf, stateOf, type Trouble, tokenIsEqual } from './k3s-trouble.ts';

export type Diagnosis = { cause: string; fix: string };

/** Seconds beyond which certificates are refused that were just made. */
const SKEW = 60;
const FULL_KIB = 200 * 1024;

/**
 * The likely cause of a node that does not come up. What K3s itself names in its journal comes first, then what was
 * measured, then words of the journal that may mean several things.
 */
export function diagnose(trouble: Trouble): Diagnosis {
  return (
    absent(trouble) ??
    clash(trouble) ??
    said(trouble, signIn(trouble.journal, 'lasting')) ??
    measured(trouble) ??
    blocked(trouble) ??
    withoutMajority(trouble) ??
    said(trouble, signIn(trouble.journal, 'passing')) ??
    unready(trouble)
  );
}

function said(trouble: Trouble, sign: Sign | undefined): Diagnosis | undefined {
  return sign?.says({ ...trouble, skew: skewOf(trouble) });
}

function absent({ node, seen }: Trouble): Diagnosis | undefined {
  const host = seen.hosts[node];
  if (host?.reachable) return undefined;
  return {
    cause: `${node} does not answer any more: ${host?.reason ?? 'it was not asked'}`,
    fix: 'see its console in Proxmox; once it runs, run this again, which goes on from there',
  };
}

function measured(trouble: Trouble): Diagnosis | undefined {
  const { node } = trouble;
  const facts = ownFacts(trouble);
  const skew = skewOf(trouble);
  if (facts?.readOnly)
    return { cause: `the root file system of ${node} is read-only`, fix: 'see `dmesg` there: often its disk failed' };
  if ((facts?.freeKib ?? FULL_KIB) < FULL_KIB)
    return {
      cause: `the disk of ${node} is full`,
      fix: 'make room, or grow disk_gib in homelab.yaml and run provision',
    };
  if (tokenIsEqual(trouble) === false)
    return {
      cause: `${node} has another token than the cluster that it wants to join`,
      fix: `${TOKEN} in .state/<lab>/secrets is what it got: delete that file if the cluster is right, and run this again`,
    };
  if (Math.abs(skew) > SKEW)
    return {
      cause: `the clock of ${node} is ${Math.abs(skew)} s ${skew < 0 ? 'behind' : 'ahead of'} the others: certificates are refused`,
      fix: 'see `timedatectl` there: does it reach a time server? Then run this again',
    };
  return undefined;
}

/** A name that the cluster knows from another machine. */
function clash(trouble: Trouble): Diagnosis | undefined {
  const { node } = trouble;
  switch (clashOf(trouble)) {
    case 'Node':
      return {
        cause: `the cluster knows ${node} as another machine`,
        fix: `if that one is gone, \`sudo k3s kubectl delete node ${node}\` on a server, and run this again`,
      };
    case 'password':
      return {
        cause: `the cluster remembers another machine by the name ${node}, although its Node is gone`,
        fix: `\`sudo k3s kubectl -n kube-system delete secret ${node}.node-password.k3s\` on a server, and run this again`,
      };
    default:
      return undefined;
  }
}

/** A port that does not answer on the way to a server, or back. */
function blocked(trouble: Trouble): Diagnosis | undefined {
  const { node, role, seen, ports } = trouble;
  const tried = ports.filter(({ answer }) => answer !== 'not tried');
  const out = tried.filter(({ from, port }) => from === node && port === 6443);
  const closed = out.filter(({ answer }) => answer !== 'open');
  if (out.length > 0 && closed.length === out.length) return closedPort(closed, trouble);
  if (role === 'agent') return undefined;
  const runs = (name: string): boolean => factsOf(seen, name).units.k3s?.state === 'active';
  const peers = tried.filter(({ from, to, port, answer }) => {
    if (port !== 2380 || answer === 'open') return false;
    // Its own etcd listens only once it has joined: a refusal on the way back says nothing.
    return from === node ? runs(to) : answer !== 'refused';
  });
  return peers.length > 0 ? closedPort(peers, trouble) : undefined;
}

function closedPort(probes: readonly PortProbe[], { node, seen }: Trouble): Diagnosis {
  const [first] = probes;
  const [from, to, port] = [first?.from ?? '', first?.to ?? '', first?.port ?? 0];
  const idle = to !== node && factsOf(seen, to).units.k3s?.state !== 'active';
  if (idle)
    return {
      cause: `${from} does not reach port ${port} of ${to}: K3s does not run there`,
      fix: `start it (\`sudo systemctl start k3s\` on ${to}), or run this without --limit`,
    };
  return {
    cause: `${from} does not reach port ${port} of ${to} (${first?.answer}): a firewall is between them`,
    fix: 'nodes need TCP 6443 and 10250 and UDP 8472 between them, servers also TCP 2379–2380: see `sudo nft list ruleset`, and the firewall of Proxmox',
  };
}

function withoutMajority(trouble: Trouble): Diagnosis | undefined {
  const all = Object.values(trouble.seen.hosts).flatMap((host) => (host.reachable ? [host.facts] : []));
  const leaderless = all.find(({ leader }) => leader === false);
  if (!leaderless) return undefined;
  const members = leaderless.members ?? trouble.servers;
  return {
    cause: `etcd has no majority: of ${members} members ${quorum(members).needed} must answer (⌊${members}/2⌋+1)`,
    fix: 'start the servers that are down; when their machines are gone for good, rebuild them with provision and run this again: it offers the way out',
  };
}

function unready(trouble: Trouble): Diagnosis {
  const { node, unit, overlay, restarts = 0 } = trouble;
  const state = stateOf(trouble);
  const apart = overlay.find(({ answer }) => answer === 'no answer' || answer === 'no route');
  if (state === 'active' && apart)
    return {
      cause: `${apart.from} does not reach ${node} through the network of the pods: UDP 8472 (VXLAN) is blocked between them`,
      fix: 'open UDP 8472 between all nodes',
    };
  if (state === 'active')
    return {
      cause: `${unit} runs, but its node is not Ready: often images that cannot be pulled (no internet, no DNS), or the network of the pods`,
      fix: `\`sudo k3s kubectl describe node ${node}\` on a server says which condition fails`,
    };
  if (restarts > 1)
    return {
      cause: `${unit} has ended ${restarts} times since it was started, see the end of its journal`,
      fix: `\`sudo journalctl -u ${unit}\` on ${node} has more; compare ${CONFIG_FILE} with the documentation of K3s`,
    };
  return {
    cause: `${unit} is ${state || 'in no state'}`,
    fix: `\`sudo journalctl -u ${unit}\` on ${node} has more than the end above`,
  };
}
