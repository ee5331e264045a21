import { LabCa } from '../ca.ts';
import { Cluster } from './cluster.ts';
import type { Faults } from './faults.ts';
import { printDrive, printSize, storageOf } from './properties.ts';
import { certificateOf, portOf, type Seen, serveNode } from './server.ts';
import type { PveOptions, Snapshot } from './types.ts';

export { defaultPrivileges } from './access.ts';
export type { Fault, Faults } from './faults.ts';
export type { PveOptions, Snapshot } from './types.ts';

/** A VM that is nobody's: switched off, with a disk, in no state and no configuration of the toolkit. */
export type StrangerSpec = { vmid: number; node: string; name: string; storage?: string };

export type TemplateSpec = {
  vmid: number;
  node: string;
  name: string;
  storage: string;
  diskGib: number;
  /** Its notes, where build-template keeps what it was made from. */
  notes?: string;
};

/** The Proxmox of the embedded lab. */
export type LabPve = {
  /** The loopback port on which a node's API listens. */
  portOf(node: string): number;
  /** Plain JSON, without what differs between two equal labs: for comparing before and after. */
  snapshot(): Snapshot;
  readonly faults: Faults;
  /** Every request so far: who was asked for what, and with which status. */
  readonly requests: readonly Seen[];
  /** "PATH PRIVILEGE" of all that the token was asked for so far. */
  readonly privilegesAsked: ReadonlySet<string>;
  /** Defects of the lab itself that came up; empty when all is well. */
  readonly problems: readonly string[];
  /** Puts a finished template there, for tests that do not build one. */
  addTemplate(template: TemplateSpec): void;
  /** Puts a VM of somebody else's there. */
  addStranger(stranger: StrangerSpec): void;
  /** Puts an ISO there, as if it had been uploaded. */
  addIso(iso: { node: string; volid: string; bytes?: number }): void;
  /** From now on a node shows a new certificate, by the lab's CA or by another; its open connections are closed. */
  renewCertificate(node: string, by: 'same CA' | 'other CA'): Promise<void>;
  /** Ends servers, timers and guests' starts; guests that run are the machines' own. */
  close(): Promise<void>;
};

/** Starts an HTTPS server on loopback for each node; all of them share one cluster. */
export async function startPve(options: PveOptions): Promise<LabPve> {
  const cluster = new Cluster(options);
  const requests: Seen[] = [];
  const servers = new Map(
    await Promise.all(
      options.nodes.map(
        async (node) => [node.name, await serveNode(node, cluster, options.ca, (seen) => requests.push(seen))] as const,
      ),
    ),
  );
  const ports = new Map([...servers].map(([name, server]) => [name, portOf(server)]));
  return {
    faults: cluster.faults,
    requests,
    problems: cluster.problems,
    privilegesAsked: cluster.access.asked,
    snapshot: () => cluster.snapshot(),
    addTemplate: (template) => addTemplate(cluster, template),
    addStranger: (stranger) => addStranger(cluster, stranger),
    renewCertificate: async (node, by) => {
      const ca = by === 'same CA' ? options.ca : await LabCa.create();
      const server = servers.get(node);
      server?.setSecureContext(await certificateOf(cluster.node(node), ca));
      server?.closeAllConnections();
    },
    addIso: ({ node, volid, bytes = 3 * 2 ** 30 }) => {
      const storage = storageOf(volid) ?? '';
      cluster.volumes.add({ volid, storage, node, content: 'iso', format: 'iso', bytes });
    },
    portOf: (node) => {
      const port = ports.get(node);
      if (port === undefined) throw new Error(`no Proxmox node ${node}`);
      return port;
    },
    close: async () => {
      cluster.close();
      await Promise.all(
        [...servers.values()].map(
          (server) =>
            new Promise<void>((resolve) => {
              server.close(() => resolve());
              server.closeAllConnections();
            }),
        ),
      );
    },
  };
}

function addStranger(cluster: Cluster, { vmid, node, name, storage }: StrangerSpec): void {
  const bytes = 8 * 2 ** 30;
  const store = storage ?? cluster.volumes.storages().find(({ content }) => content.includes('images'))?.name ?? '';
  const { volid } = cluster.volumes.allocate(store, node, vmid, bytes);
  const net0 = `virtio=${cluster.newMac(vmid, 'net0')},bridge=${cluster.bridge}`;
  cluster.addVm(vmid, node, { name, boot: 'order=scsi0', memory: '512', net0, scsi0: `${volid},size=8G` });
}

function addTemplate(cluster: Cluster, { vmid, node, name, storage, diskGib, notes }: TemplateSpec): void {
  const base = (bytes: number, number: number, installed: boolean): string => {
    const volume = cluster.volumes.allocate(storage, node, vmid, bytes, installed ? { installed } : {});
    volume.volid = volume.volid.replace(/([:/])vm-(\d+-disk)-\d+/, `$1base-$2-${number}`);
    return volume.volid;
  };
  const efi = base(2 ** 20, 0, false);
  const disk = base(diskGib * 2 ** 30, 1, true);
  cluster.addVm(vmid, node, {
    name,
    ...(notes !== undefined && { description: notes }),
    template: 1,
    agent: '1',
    bios: 'ovmf',
    boot: 'order=scsi0',
    cores: 2,
    cpu: 'host',
    efidisk0: `${efi},efitype=4m,pre-enrolled-keys=1,size=1M`,
    machine: 'q35',
    memory: '2048',
    net0: `virtio=${cluster.newMac(vmid, 'net0')},bridge=${cluster.bridge}`,
    ostype: 'l26',
    scsi0: printDrive(
      new Map([
        ['file', disk],
        ['discard', 'on'],
        ['size', printSize(diskGib * 2 ** 30)],
      ]),
    ),
    scsihw: 'virtio-scsi-single',
    smbios1: `uuid=${cluster.newUuid(vmid, 'smbios')}`,
  });
}
