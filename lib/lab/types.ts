/**
 * The parts of the embedded lab and what they are to each other. Every part lives in one process, listens
 * on loopback only, and is an emulator: strict where the real thing is strict, and called what it is.
 *
 *     pve (Proxmox API) ──boot──▶ hosts (SSH, a real shell, stand-in programs) ──▶ cluster (K3s), nas (NFS)
 */

/** A virtual machine as the hypervisor starts it. */
export type GuestSpec = {
  vmid: number;
  name: string;
  /** The Proxmox node on which it runs. */
  node: string;
  /** From cloud-init's ipconfig; undefined: DHCP, or no cloud-init at all (a template that is being built). */
  address?: string;
  cloudInit: boolean;
  user?: string;
  sshKeys: string[];
  cores: number;
  memoryMib: number;
  diskBytes: number;
  macs: string[];
  /** Resource mappings of passed-through PCI devices. */
  gpus: string[];
};

/** A virtual machine that runs. */
export interface Guest {
  /** What the guest agent reports. */
  readonly address: string;
  /** The SSH host key, "ssh-ed25519 AAAA…". It stays with the disk: a reboot keeps it, a new clone has a new one. */
  readonly hostKey: string;
  /** A file of the guest, for the agent's file-read. */
  readFile(path: string): Promise<string | undefined>;
  /** Power off. Its disk stays until `destroy`. */
  stop(): Promise<void>;
}

/** What the Proxmox emulator needs of the rest. */
export interface Machines {
  boot(spec: GuestSpec): Promise<Guest>;
  /** The system disk of a VM that runs has another size. */
  resize?(vmid: number, diskBytes: number): void;
  /** The VM is gone for good, with its disk. */
  destroy(vmid: number): Promise<void>;
}

/** A host that runs: a virtual machine or a Proxmox node. */
export interface LabHost {
  readonly name: string;
  readonly address: string;
  /** The folder that stands for `/`. */
  readonly root: string;
  readonly cores: number;
  readonly memoryMib: number;
  readonly gpus: string[];
  /** A file of the host by its absolute path in the host. */
  readFile(path: string): string | undefined;
  writeFile(path: string, content: string, mode?: number): void;
  /** Appends to the journal of a unit, which `journalctl -u` shows. */
  log(unit: string, line: string): void;
}

export type ProgramCall = {
  host: LabHost;
  /** argv[0] is the program's name. Absolute paths are the host's (without its root folder). */
  argv: string[];
  env: Record<string, string>;
  cwd: string;
  stdin: string;
  /** Whether it runs under sudo or as root. */
  root: boolean;
};
export type ProgramResult = { code: number; stdout?: string; stderr?: string };

/** A stand-in for a program that needs privileges or hardware: k3s, systemctl, mount, apt-get. */
export type Program = (call: ProgramCall) => Promise<ProgramResult> | ProgramResult;

/** What systemd starts and stops. A start that resolves with `ok: false` is a unit that failed. */
export interface Unit {
  start(host: LabHost): Promise<{ ok: boolean }>;
  stop(host: LabHost): Promise<void>;
}

/** What hosts find around them: programs and units by name, and where a connection from a host leads. */
export type World = {
  programs: Map<string, Program>;
  units: Map<string, Unit>;
  /** Where a TCP connection from a host to address:port leads on loopback (a ClusterIP, a load balancer). */
  route(from: LabHost, address: string, port: number): { host: string; port: number } | undefined;
};
