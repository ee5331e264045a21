import type { Answer } from '../ports/types.ts';
import type { KubeObject } from '../step.ts';
import type { ChartSeen } from './chart-steps.ts';

/** What setup-nfs looks at. */
export type NfsSeen = {
  /** Linux NAS, by name; the others can only be looked at by mounting. */
  nas: Record<string, Answer<LinuxNasSeen>>;
  /** Whether nfs-common is installed, by K3s node. */
  nodes: Record<string, Answer<boolean>>;
  storages: Answer<PveStorage[]>;
  cluster: Answer<NfsClusterSeen>;
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
};
