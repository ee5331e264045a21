import type { LabCa } from '../ca.ts';
import type { Guest, Machines } from '../types.ts';
import type { Volume } from './volumes.ts';

/** What the emulated cluster is made of. */
export type PveOptions = {
  nodes: NodeSpec[];
  storages: StorageSpec[];
  bridge: string;
  token: TokenSpec;
  /** Who may log in with a password (Debian's Packer knows no tokens); has all privileges, like root@pam. */
  user?: { id: string; password: string };
  /**
   * Whether the size of an attached ISO is written into the configuration, as Proxmox does since version 7. Packer 1.6
   * cannot eject such a one. Default: no when there is a `user`, whom only that Packer needs.
   */
  isoSizes?: boolean;
  pools?: string[];
  ca: LabCa;
  machines: Machines;
  latency?: Partial<Latency>;
};

export type NodeSpec = {
  name: string;
  address: string;
  /** Names of PCI resource mappings that exist on this node; one device each. */
  gpus?: string[];
  memoryBytes?: number;
  cores?: number;
};

export type StorageSpec = {
  name: string;
  content: string[];
  shared?: boolean;
  /** Default: nfs when shared, zfspool for disks, dir for the rest. */
  type?: string;
  bytes?: number;
  /** Of an NFS export. */
  server?: string;
  export?: string;
  options?: string;
};

/** Privileges by path. */
export type Acl = Record<string, readonly string[]>;

export type TokenSpec = {
  /** USER@REALM!NAME */
  id: string;
  secret: string;
  /** Privileges by ACL path, which propagate down; a deeper path replaces them. Default: defaultPrivileges. */
  privileges?: Acl;
  /** Those of the user whose token it is: the token has the intersection of both. Default: the user has them all. */
  ownerPrivileges?: Acl;
};

/** Milliseconds that things take. */
export type Latency = {
  /** A full clone. */
  clone: number;
  /**
   * How full clones share a disk. `none`: each takes `clone`, however many there are. `storage`: those that write to
   * one storage of one node (a shared one: of all nodes) are copied one after another, each for `clone`.
   * That is simpler than the real thing, where the storage's lock is held only while a volume is allocated, and the
   * copies then divide the disk's throughput: the last one ends at the same time, the first ones end later there.
   */
  cloneQueue: 'none' | 'storage';
  /** How long a clone waits in that queue before it fails. Proxmox waits 10 s, but only for the allocation. */
  storageLockTimeout: number;
  migrate: number;
  /** Until a start task has ended. */
  start: number;
  /** From the start until the guest and its agent answer. */
  boot: number;
  /** From the start with an ISO and an empty disk until the installed system boots. */
  install: number;
  shutdown: number;
  /** Every other task. */
  task: number;
  /** How long a refused authentication is held back. */
  authFailure: number;
  /** How long a call waits for the lock of a VM's configuration file. */
  lockTimeout: number;
  /** How long a new VM is `unknown` and nameless in /cluster/resources. */
  broadcast: number;
};

export const defaultLatency: Latency = {
  clone: 200,
  cloneQueue: 'none',
  storageLockTimeout: 3_600_000,
  migrate: 200,
  start: 50,
  boot: 200,
  install: 500,
  shutdown: 50,
  task: 20,
  authFailure: 3000,
  lockTimeout: 10_000,
  broadcast: 0,
};

/** A VM's configuration file: what GET /config shows, as Proxmox types it. */
export type VmConfig = Record<string, string | number>;

export type Running = { since: number; config: VmConfig; guest?: Guest };

export type Vm = {
  vmid: number;
  node: string;
  config: VmConfig;
  running?: Running;
  /** When /cluster/resources shows it whole, in milliseconds of the clock. */
  knownFrom: number;
};

/** State without what differs between two equal labs (MACs, uuids, times): for comparing before and after. */
export type Snapshot = {
  vms: { vmid: number; node: string; status: string; pool?: string; config: VmConfig }[];
  volumes: Volume[];
  storages: StorageSpec[];
  locks: { vmid: number; lock: string }[];
};
