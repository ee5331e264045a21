/** What install-k3s has seen: plain data, made by lib/observe/k3s.ts, judged by lib/plan/k3s.ts. */

import type { Answer } from '../ports/types.ts';
import type { SeenPod } from './k3s-drain.ts';

export type HostFacts = {
  hostname?: string;
  /** /etc/machine-id. */
  machineId?: string;
  /** Seconds since 1970 by the host's clock. */
  clock?: number;
  /** Free on the file system of /var/lib. */
  freeKib?: number;
  /** The root file system is mounted read-only. */
  readOnly?: boolean;
  /** Of the binary on disk, "v1.36.5+k3s1"; what runs may be older until a restart. */
  version?: string;
  /** Units of K3s that are installed: `k3s` on servers, `k3s-agent` on agents. */
  units: Record<string, { state: string; enabled: boolean }>;
  /** config.yaml without its token. */
  config?: string;
  /** Keys that files in config.yaml.d set, which count more. */
  dropIns?: string[];
  /** Whether config.yaml has the mode 0600. */
  configPrivate: boolean;
  /** SHA-256 of the token in config.yaml. */
  tokenHash?: string;
  /** SHA-256 of the token that the server's cluster has, whatever config.yaml says. */
  secretHash?: string;
  /** Fingerprint of the configuration with which the unit was last (re)started by us. */
  startedWith?: string;
  /** Whether there is anything in K3s's own folder. */
  data?: boolean;
  /** The snapshot of which a restore was begun here and has not come to its end. */
  restoring?: string;
  /** A server that was a member of an etcd cluster: etcd's log is on its disk. */
  etcdData: boolean;
  /** Of the etcd that runs there: whether it has a leader, and so a majority. */
  leader?: boolean;
  /** How many members that etcd knows, itself included; etcd before 3.6 does not say. */
  members?: number;
  /** A node that a cluster has let in. */
  joined: boolean;
  /** SHA-256 of the kubeconfig that the server wrote. */
  kubeconfigHash?: string;
  /**
   * NVIDIA's runtime: `runtime`, K3s uses it; `later`, it was installed after K3s's last start; `unseen`, it was there
   * at the start, and K3s does not use it. Left out: it is not installed.
   */
  nvidia?: 'runtime' | 'later' | 'unseen';
  /** Files that were asked for, by their path: SHA-256, and whether that was noted there after they were pushed. */
  files?: Record<string, { sha256: string; noted: boolean }>;
};

export type SeenHost =
  | { reachable: true; facts: HostFacts; skewSeconds?: number }
  | { reachable: false; reason: string };

export type SeenNode = {
  name: string;
  uid?: string;
  ready: boolean;
  version: string;
  labels: Record<string, string>;
  /** "dedicated=gpu:NoSchedule" */
  taints: string[];
  /** Of the machine that it runs on. */
  machineId?: string;
  /** A member of etcd, as its labels say. */
  member?: boolean;
  /** A member that votes. */
  voter?: boolean;
  /** Nothing new is scheduled on it, because this script said so, or somebody else. */
  cordoned?: 'by us' | 'by others';
  /** It bears our mark, and takes pods: somebody uncordoned it. Who cordons it next would be taken for us. */
  marked?: boolean;
};

export type SeenCluster =
  | { answers: true; server: string; nodes: SeenNode[] /** Default StorageClasses. */; defaultClasses?: string[] }
  | { answers: false; reason: string };

export type SeenK3s = {
  hosts: Record<string, SeenHost>;
  cluster: SeenCluster;
  /** The nodes as each server that answers sees them: of two clusters they are not the same. */
  views?: Record<string, SeenNode[]>;
  /** The pods of each node that another version is meant for: asked only then. */
  pods?: Answer<Record<string, SeenPod[]>>;
  /** SHA-256 of the token in .state, when there is one. */
  tokenHash?: string;
  /** SHA-256 of the install script that was downloaded. */
  scriptHash?: string;
  /** SHA-256 of the files of k3s.airgap on this machine; one that is not there has none. */
  airgap?: Record<string, string | undefined>;
  /** The first line of .state/<lab>/kubeconfig, and its mode. */
  kubeconfig?: { header: string; mode: number };
};
