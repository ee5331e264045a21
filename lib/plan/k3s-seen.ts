/** What install-k3s has seen: plain data, made by lib/observe/k3s.ts, judged by lib/plan/k3s.ts. */

export type HostFacts = {
  hostname?: string;
  /** Seconds since 1970 by the host's clock. */
  clock?: number;
  /** Free on the file system of /var/lib. */
  freeKib?: number;
  /** Of the binary on disk, "v1.36.5+k3s1"; what runs may be older until a restart. */
  version?: string;
  /** Units of K3s that are installed: `k3s` on servers, `k3s-agent` on agents. */
  units: Record<string, { state: string; enabled: boolean }>;
  /** config.yaml without its token. */
  config?: string;
  /** Whether config.yaml has the mode 0600. */
  configPrivate: boolean;
  /** SHA-256 of the token in config.yaml. */
  tokenHash?: string;
  /** Fingerprint of the configuration with which the unit was last (re)started by us. */
  startedWith?: string;
  /** A server that was a member of an etcd cluster. */
  etcdData: boolean;
  /** A node that has run before. */
  joined: boolean;
  /** SHA-256 of the kubeconfig that the server wrote. */
  kubeconfigHash?: string;
};

export type SeenHost =
  | { reachable: true; facts: HostFacts; skewSeconds?: number }
  | { reachable: false; reason: string };

export type SeenNode = {
  name: string;
  ready: boolean;
  version: string;
  labels: Record<string, string>;
  /** "dedicated=gpu:NoSchedule" */
  taints: string[];
};

export type SeenCluster = { answers: true; server: string; nodes: SeenNode[] } | { answers: false; reason: string };

export type SeenK3s = {
  hosts: Record<string, SeenHost>;
  cluster: SeenCluster;
  /** SHA-256 of the token in .state, when there is one. */
  tokenHash?: string;
  /** SHA-256 of the install script that was downloaded. */
  scriptHash?: string;
  /** The first line of .state/<lab>/kubeconfig, and its mode. */
  kubeconfig?: { header: string; mode: number };
};
