import { rmSync } from 'node:fs';
import { join } from 'node:path';
import type { EndpointFile } from '../endpoint-file.ts';
import type { Guest, GuestSpec, Machines, World } from '../types.ts';
import { startHost } from './host.ts';
import type { RunningHost } from './spec.ts';

export type MachinesOptions = {
  /** Holds a folder for each machine, by VMID: its disk. */
  folder: string;
  world: World;
  endpoints: EndpointFile;
  /** The address that a machine without one gets. Default: link-local, as where no DHCP server answers. */
  dhcp?: (spec: GuestSpec) => string;
  /** Told of each machine that is up. */
  onBoot?: (host: RunningHost) => void;
};

/** What the hypervisor starts: hosts at the address that cloud-init gave them, wrong or right. */
export class LabMachines implements Machines {
  readonly #options: MachinesOptions;
  readonly #running = new Map<number, RunningHost>();
  readonly #specs = new WeakMap<RunningHost, GuestSpec>();

  constructor(options: MachinesOptions) {
    this.#options = options;
  }

  /** Machines that run, by VMID. */
  get running(): ReadonlyMap<number, RunningHost> {
    return this.#running;
  }

  /** A running machine by its name. */
  find(name: string): RunningHost | undefined {
    return [...this.#running.values()].find((host) => host.name === name);
  }

  async boot(spec: GuestSpec): Promise<Guest> {
    const { world, endpoints, dhcp = linkLocal, onBoot } = this.#options;
    const host = await startHost(
      {
        ...spec,
        address: spec.address ?? dhcp(spec),
        folder: this.#folderOf(spec.vmid),
        user: spec.user ?? 'root',
      },
      world,
    );
    this.#running.set(spec.vmid, host);
    this.#specs.set(host, spec);
    endpoints.set(host.address, null);
    endpoints.set(`${host.address}:22`, `127.0.0.1:${host.port}`);
    onBoot?.(host);
    return {
      address: host.address,
      hostKey: host.hostKey,
      // By VMID: after a reboot it is another host of the same machine.
      readFile: async (path) => this.#running.get(spec.vmid)?.readFile(path),
      stop: () => this.stop(spec.vmid),
    };
  }

  /** What `reboot` on a machine does; one that is no virtual machine goes on running. */
  async reboot(address: string): Promise<void> {
    const host = [...this.#running.values()].find((running) => running.address === address);
    const spec = host && this.#specs.get(host);
    if (!spec) return;
    await this.stop(spec.vmid);
    await this.boot(spec);
  }

  /** Powers a machine off; its folder stays. One that does not run is fine. */
  async stop(vmid: number): Promise<void> {
    const host = this.#running.get(vmid);
    if (!host) return;
    this.#running.delete(vmid);
    const other = [...this.#running.values()].find(({ address }) => address === host.address);
    this.#options.endpoints.set(`${host.address}:22`, other ? `127.0.0.1:${other.port}` : null);
    await host.stop();
  }

  /** A disk that grows under a running machine: nothing on it grows by itself before the next boot. */
  resize(vmid: number, diskBytes: number): void {
    const host = this.#running.get(vmid);
    const spec = host && this.#specs.get(host);
    if (!spec) return;
    host.spec.diskBytes = diskBytes;
    this.#specs.set(host, { ...spec, diskBytes });
  }

  async destroy(vmid: number): Promise<void> {
    await this.stop(vmid);
    rmSync(this.#folderOf(vmid), { recursive: true, force: true });
  }

  /** Stops all machines; their folders stay. */
  async close(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((vmid) => this.stop(vmid)));
  }

  #folderOf(vmid: number): string {
    return join(this.#options.folder, String(vmid));
  }
}

function linkLocal({ vmid }: GuestSpec): string {
  return `169.254.${(vmid >> 8) & 255}.${vmid & 255}`;
}
