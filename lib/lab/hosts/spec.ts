import type { LabHost } from '../types.ts';

/** A machine that is to run: a virtual machine or a Proxmox node. */
export type HostSpec = {
  name: string;
  address: string;
  /** The machine's own folder: its root/, its host key, its journals. What is there is kept, as a disk is. */
  folder: string;
  /** The only user that may log in, with one of these keys ("ssh-ed25519 AAAA…"). */
  user: string;
  sshKeys: string[];
  cores: number;
  memoryMib: number;
  diskBytes: number;
  gpus?: string[];
  macs?: string[];
  /** Whether cloud-init ran at the first boot. Default: true. */
  cloudInit?: boolean;
  /** The login shell. Default: /bin/sh. */
  shell?: string;
  /** Without it sudo asks for no password. */
  sudoPassword?: string;
};

/** What goes wrong on request. Changed at any time; each holds until it is taken back. */
export type HostFaults = {
  /** Milliseconds that each command waits before it starts. */
  delay?: number;
  /** No key is accepted. */
  denyLogin?: boolean;
  /** The connection breaks 50 ms after a command that matches has started. */
  drop?: RegExp;
  /** What `apt-get install` ends with: "Could not get lock /var/lib/dpkg/lock-frontend". */
  apt?: string;
  /** Commands that match get "No space left on device" and exit code 1. */
  full?: RegExp;
};

/** What lies on the disk of a machine, bottom to top, in bytes: each may be smaller than what is below it. */
export type RootDisk = { partition: number; physicalVolume: number; logicalVolume: number; fileSystem: number };

/** An NFS export that is mounted on a host. */
export type HostMount = { point: string; source: string; type: string; options: string; folder: string };

/** A machine that runs. */
export interface RunningHost extends LabHost {
  readonly spec: HostSpec;
  readonly folder: string;
  /** Where its SSH server listens, on 127.0.0.1. */
  readonly port: number;
  /** "ssh-ed25519 AAAA…" */
  readonly hostKey: string;
  readonly faults: HostFaults;
  /** How far what lies on its disk (spec.diskBytes) has grown. */
  readonly disk: RootDisk;
  readonly mounts: HostMount[];
  /** Commands that were sent, as they were sent, newest last. */
  readonly commands: string[];
  /** How often somebody has logged in. */
  logins: number;
  /** Ends its connections and its SSH server; units are stopped first. Its folder stays. */
  stop(): Promise<void>;
}
