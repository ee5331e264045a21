import { quorum } from '../config/quorum.ts';
import { CONFIG_FILE, TOKEN } from '../render/k3s-config.ts';
import type { Diagnosis } from './k3s-diagnose.ts';

type Around = { node: string; skew: number; servers: number };
export type Sign = {
  sign: RegExp;
  /** Whether it stays so until somebody does something: then there is nothing to wait for. */
  lasting: boolean;
  says: (around: Around) => Diagnosis;
};

/** The most telling of K3s's own words in a journal, of those that last or of those that may pass. */
export function signIn(journal: string, kind: 'lasting' | 'passing'): Sign | undefined {
  return SIGNS.find(({ sign, lasting }) => lasting === (kind === 'lasting') && sign.test(journal));
}

/** What K3s and its etcd say themselves: between it are lines of the kubelet and others, of whatever they met. */
export function ownLines(journal: string): string {
  const own = journal.split('\n').filter((line) => /\blevel=|"level":/.test(line));
  return own.join('\n');
}

/** The password by which a cluster knows a node is not the one that this machine came with. */
export const REJECTED = /Node password rejected|duplicate hostname/i;

const SIGNS: Sign[] = [
  {
    sign: REJECTED,
    lasting: true,
    // Where it can be told what exactly the cluster remembers, that is said instead (k3s-diagnose.ts).
    says: ({ node }) => ({
      cause: `the cluster remembers another machine by the name ${node}`,
      fix: `\`sudo k3s kubectl delete node ${node}\` on a server, and run this again`,
    }),
  },
  {
    sign: /token CA hash does not match|encrypted with different token|invalid token|failed to (normalize|validate) .*token|(401 )?Unauthorized|not authorized/i,
    lasting: true,
    says: ({ node }) => ({
      cause: `${node} has another token than the cluster that it wants to join`,
      fix: `compare token: in ${CONFIG_FILE} here and on a server that runs; .state/<lab>/secrets/${TOKEN} is what we use`,
    }),
  },
  {
    sign: /newer than datastore and could cause a cluster outage/i,
    lasting: true,
    says: ({ node }) => ({
      cause: `${node} has certificates that are not those of the cluster that it joins, and are younger: of another cluster that it was in, since a restore of an older one`,
      fix: `if the others have what you need: stop k3s on ${node}, move /var/lib/rancher/k3s/server/tls and server/cred away (K3s gets them anew), and run this again`,
    }),
  },
  {
    sign: /critical configuration (value )?mismatch/i,
    lasting: true,
    says: () => ({
      cause: 'the servers differ in what must be equal on all of them (CIDRs, disabled components, …)',
      fix: `compare ${CONFIG_FILE} of the servers; such a value cannot be changed on a cluster that exists`,
    }),
  },
  {
    sign: /duplicate node name found|member .*has already been bootstrapped/i,
    lasting: true,
    says: ({ node }) => ({
      cause: `etcd still has a member of an earlier ${node}`,
      fix: `\`sudo k3s kubectl delete node ${node}\` on a server takes it out; then run this again`,
    }),
  },
  {
    sign: /cluster ID mismatch|has been permanently removed from the cluster/i,
    lasting: true,
    says: ({ node }) => ({
      cause: `${node} has data of etcd as it was before the cluster was reset, or before this member was removed`,
      fix: `if the others have what you need: stop k3s on ${node}, move /var/lib/rancher/k3s/server/db away, and run this again`,
    }),
  },
  {
    sign: /no space left on device/i,
    lasting: true,
    says: ({ node }) => ({
      cause: `the disk of ${node} is full`,
      fix: 'make room, or grow disk_gib in homelab.yaml and run provision',
    }),
  },
  {
    sign: /address already in use/i,
    lasting: true,
    says: ({ node }) => ({
      cause: `another program on ${node} has a port that K3s needs`,
      fix: '`sudo ss -ltnp` there says which',
    }),
  },
  {
    sign: /failed to find memory cgroup/i,
    lasting: true,
    says: ({ node }) => ({
      cause: `the kernel of ${node} has no memory cgroup`,
      fix: 'enable it on its kernel command line',
    }),
  },
  {
    sign: /unknown flag|flag provided but not defined|failed to parse config|invalid .* config/i,
    lasting: true,
    says: () => ({
      cause: 'this version of K3s does not take a key in config.yaml',
      fix: 'check k3s.version in homelab.yaml, and files in /etc/rancher/k3s/config.yaml.d',
    }),
  },
  {
    sign: /certificate is valid for .*, not /i,
    lasting: true,
    says: () => ({
      cause: 'the server that it joins is not reached at an address in tls-san',
      fix: 'run this for the servers first',
    }),
  },
  {
    sign: /x509: certificate has expired or is not yet valid/i,
    lasting: false,
    says: ({ node, skew }) => ({
      cause: `the clocks differ${Math.abs(skew) > 5 ? ` (${node}: ${skew} s)` : ''}: a certificate is not valid yet, or no more`,
      fix: 'check `timedatectl` on all nodes; when clocks agree, restart K3s to renew certificates',
    }),
  },
  {
    sign: /too many learner/i,
    lasting: false,
    says: () => ({ cause: 'another server is joining at the same time', fix: 'run this again when it is Ready' }),
  },
  {
    sign: /no leader|lost (the )?leader|etcdserver: request timed out|unhealthy cluster|context deadline exceeded.*:2379/i,
    lasting: false,
    says: ({ servers }) => ({
      cause: `etcd has no majority: of ${servers} servers ${quorum(servers).needed} must answer`,
      fix: 'start the servers that are down; when their machines are gone for good, rebuild them with provision and run this again: it offers the way out',
    }),
  },
  {
    sign: /not yet been promoted from learner|:2380: (i\/o timeout|connect: )/i,
    lasting: false,
    says: ({ node }) => ({
      cause: `${node} and another server do not reach each other's etcd (TCP 2380)`,
      fix: 'open TCP 2379–2380 between the servers, in both directions',
    }),
  },
  {
    sign: /:6443.*(connection refused|no route to host|i\/o timeout|context deadline exceeded)|(connection refused|i\/o timeout).*:6443|failed to get CA certs/i,
    lasting: false,
    says: ({ node }) => ({
      cause: `${node} does not reach the server that it joins (port 6443; servers also need 2379–2380)`,
      fix: 'see that the server in its config.yaml runs, and that no firewall is between them',
    }),
  },
];
