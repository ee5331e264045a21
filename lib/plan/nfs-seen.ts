import type { Answer } from '../ports/types.ts';
import type { KubeObject } from '../step.ts';
import type { ChartSeen } from './chart-steps.ts';
import type { Placed } from './convention-problem.ts';

/** What setup-nfs looks at. */
export type NfsSeen = {
  /** Linux NAS, by name; the others can only be looked at by mounting. */
  nas: Record<string, Answer<LinuxNasSeen>>;
  /** K3s and Proxmox nodes, by name. */
  hosts: Record<string, Answer<NfsHostSeen>>;
  storages: Answer<PveStorage[]>;
  cluster: Answer<NfsClusterSeen>;
  /** Manifests of applications/. */
  applications: Placed[];
  /** Milliseconds: how long something has been stuck is judged from here. */
  now: number;
};

export type NfsHostSeen = {
  /** Whether nfs-common is installed. */
  client: boolean;
  /** "ADDRESS PORT" of a NAS that it reached, and that it did not. */
  open: string[];
  closed: string[];
  /** What a NAS says that it exports, by address, where it says so. */
  exports: Record<string, { path: string; clients: string[] }[]>;
  /** NFS mounts that are there and do not answer. */
  broken: { source: string; target: string; why: string }[];
};

export type LinuxNasSeen = {
  /** EXPORTS_FILE as it is. */
  file?: string;
  /** Output of `exportfs -s`, or undefined when there is no NFS server. */
  active?: string;
  /** Paths of homelab.yaml that are no folders. */
  missing: string[];
};

/** An entry of Proxmox's /storage. */
export type PveStorage = { storage: string; type: string; server?: string; export?: string; content?: string };

export type NfsClusterSeen = {
  chart: ChartSeen;
  classes: KubeObject[];
  /** Every PersistentVolumeClaim. */
  claims: KubeObject[];
  /** Every Pod. */
  pods: KubeObject[];
};
