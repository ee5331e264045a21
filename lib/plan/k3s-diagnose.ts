import { quorum } from '../config/quorum.ts';
import { CONFIG_FILE, TOKEN } from '../render/k3s-config.ts';

/** What is known of a node that does not come up. */
export type Trouble = {
  node: string;
  role: 'server' | 'agent';
  /** What systemd says of the unit: active, activating, failed, inactive. */
  state: string;
  /** The end of the unit's journal. */
  journal: string;
  /** How far its clock is ahead of ours. */
  skewSeconds?: number;
  /** Servers in homelab.yaml. */
  servers: number;
};

export type Diagnosis = { cause: string; fix: string };

/** The likely cause, from the words that K3s leaves in its journal, the most telling first. */
export function diagnose(trouble: Trouble): Diagnosis {
  const { node, role, state, journal, skewSeconds = 0 } = trouble;
  const unit = role === 'server' ? 'k3s' : 'k3s-agent';
  const known = SIGNS.find(({ sign }) => sign.test(journal));
  if (known) return known.says(trouble);
  if (Math.abs(skewSeconds) > 60)
    return {
      cause: `the clock of ${node} is ${Math.round(Math.abs(skewSeconds))} s off`,
      fix: 'check `timedatectl` there',
    };
  if (state === 'active')
    return {
      cause: `${unit} runs, but its node is not Ready: often the network between the nodes (UDP 8472), or images that cannot be pulled`,
      fix: `\`k3s kubectl describe node ${node}\` on a server says which condition fails`,
    };
  return {
    cause: `${unit} is ${state || 'in no state'}`,
    fix: `\`sudo journalctl -u ${unit}\` on ${node} has more than the end below`,
  };
}

const SIGNS: { sign: RegExp; says: (trouble: Trouble) => Diagnosis }[] = [
  {
    sign: /Node password rejected|duplicate hostname/i,
    says: ({ node }) => ({
      cause: `the cluster remembers another machine by the name ${node}`,
      fix: `\`k3s kubectl delete node ${node}\` on a server forgets it; then run this again`,
    }),
  },
  {
    sign: /token CA hash does not match|encrypted with different token|invalid token|failed to (normalize|validate) .*token|(401 )?Unauthorized|not authorized/i,
    says: ({ node }) => ({
      cause: `${node} has another token than the cluster that it wants to join`,
      fix: `compare token: in ${CONFIG_FILE} here and on a server that runs; .state/<lab>/secrets/${TOKEN} is what we use`,
    }),
  },
  {
    sign: /x509: certificate has expired or is not yet valid/i,
    says: ({ node, skewSeconds = 0 }) => ({
      cause: `the clocks differ${Math.abs(skewSeconds) > 5 ? ` (${node}: ${Math.round(skewSeconds)} s)` : ''}: a certificate is not valid yet, or no more`,
      fix: 'check `timedatectl` on all nodes; when clocks agree, restart K3s to renew certificates',
    }),
  },
  {
    sign: /certificate is valid for .*, not /i,
    says: () => ({
      cause: 'the server that it joins is not reached at an address in tls-san',
      fix: 'run this for the servers first',
    }),
  },
  {
    sign: /critical configuration (value )?mismatch/i,
    says: () => ({
      cause: 'the servers differ in what must be equal on all of them (CIDRs, disabled components, …)',
      fix: 'compare /etc/rancher/k3s/config.yaml of the servers; such a value cannot be changed on a cluster that exists',
    }),
  },
  {
    sign: /too many learner/i,
    says: () => ({ cause: 'another server is joining at the same time', fix: 'run this again when it is Ready' }),
  },
  {
    sign: /duplicate node name found|member .*has already been bootstrapped|cluster ID mismatch/i,
    says: ({ node }) => ({
      cause: `etcd still has a member of an earlier ${node}`,
      fix: `\`k3s kubectl delete node ${node}\` on a server takes it out; then run this again`,
    }),
  },
  {
    sign: /no space left on device/i,
    says: ({ node }) => ({
      cause: `the disk of ${node} is full`,
      fix: 'grow disk_gib in homelab.yaml and run provision',
    }),
  },
  {
    sign: /address already in use/i,
    says: ({ node }) => ({
      cause: `another program on ${node} has a port that K3s needs`,
      fix: '`sudo ss -ltnp` there says which',
    }),
  },
  {
    sign: /failed to find memory cgroup/i,
    says: ({ node }) => ({
      cause: `the kernel of ${node} has no memory cgroup`,
      fix: 'enable it on its kernel command line',
    }),
  },
  {
    sign: /unknown flag|flag provided but not defined|failed to parse config|invalid .* config/i,
    says: () => ({
      cause: 'this version of K3s does not take a key in config.yaml',
      fix: 'check k3s.version in homelab.yaml',
    }),
  },
  {
    sign: /no leader|lost (the )?leader|etcdserver: request timed out|unhealthy cluster|context deadline exceeded.*:2379/i,
    says: ({ servers }) => ({
      cause: `etcd has no majority: of ${servers} servers ${quorum(servers).needed} must answer`,
      fix: 'start the servers that are down; if they are gone for good, `k3s server --cluster-reset` on the one that is left',
    }),
  },
  {
    sign: /:6443.*(connection refused|no route to host|i\/o timeout|context deadline exceeded)|(connection refused|i\/o timeout).*:6443|failed to get CA certs/i,
    says: ({ node }) => ({
      cause: `${node} does not reach the server that it joins (port 6443; servers also need 2379–2380)`,
      fix: 'see that the server in its config.yaml runs, and that no firewall is between them',
    }),
  },
];
