import { createHash } from 'node:crypto';
import type { Machines } from '../types.ts';
import { Access } from './access.ts';
import { died } from './errors.ts';
import { Faults } from './faults.ts';
import { type Lock, Locks } from './locks.ts';
import { isDrive, parseDrive, parseProperties, printProperties } from './properties.ts';
import { type Log, Tasks } from './tasks.ts';
import { defaultLatency, type Latency, type NodeSpec, type PveOptions, type Snapshot, type Vm } from './types.ts';
import { Volumes } from './volumes.ts';

/** Milliseconds between two looks whether a task still hangs. */
const HANG_LOOK = 20;

/** The one state that all nodes of the emulated cluster share. Nothing of it outlives the process. */
export class Cluster {
  readonly nodes: readonly NodeSpec[];
  readonly bridge: string;
  readonly isoSizes: boolean;
  readonly pools: Map<string, Set<number>>;
  readonly vms = new Map<number, Vm>();
  readonly faults = new Faults();
  readonly tasks = new Tasks();
  readonly volumes: Volumes;
  readonly access: Access;
  readonly machines: Machines;
  readonly latency: Latency;
  /** Guests that could not be booted, and why: a defect of the lab, not of what is rehearsed. */
  readonly problems: string[] = [];
  readonly #timers = new Set<NodeJS.Timeout>();
  readonly #fileLocks = new Locks((ms) => this.sleep(ms));
  readonly #storageLocks = new Locks((ms) => this.sleep(ms));
  readonly #born = new Map<number, number>();

  constructor(options: PveOptions) {
    this.nodes = options.nodes;
    this.bridge = options.bridge;
    this.isoSizes = options.isoSizes ?? options.user === undefined;
    this.pools = new Map((options.pools ?? []).map((pool) => [pool, new Set()]));
    this.volumes = new Volumes(options.storages, (storage, node) => this.faults.isFull(storage, node));
    this.access = new Access(options.token, options.bridge, options.user);
    this.machines = options.machines;
    this.latency = { ...defaultLatency, ...options.latency };
  }

  node(name: string): NodeSpec {
    const found = this.nodes.find((node) => node.name === name);
    if (!found)
      throw died(
        `hostname lookup '${name}' failed - failed to get address info for: ${name}: Name or service not known`,
      );
    return found;
  }

  /** @throws PveError in the words of a missing configuration file, which differ when another node has the VM */
  vm(node: string, vmid: number): Vm {
    const vm = this.vms.get(vmid);
    if (!vm) throw died(`Configuration file 'nodes/${node}/qemu-server/${vmid}.conf' does not exist`);
    if (vm.node !== node) throw died(`unable to find configuration file for VM ${vmid} on node '${node}'`);
    return vm;
  }

  poolOf(vmid: number): string | undefined {
    return [...this.pools].find(([, members]) => members.has(vmid))?.[0];
  }

  lockOf(vm: Vm): string | undefined {
    return this.faults.lockOf(vm.vmid) ?? (vm.config.lock === undefined ? undefined : String(vm.config.lock));
  }

  checkLock(vm: Vm): void {
    const lock = this.lockOf(vm);
    if (lock) throw died(`VM is locked (${lock})`);
  }

  /** Writes a new VM's configuration. MACs and uuids are drawn from VMID and how often that VMID was born. */
  addVm(vmid: number, node: string, config: Vm['config']): Vm {
    this.#born.set(vmid, (this.#born.get(vmid) ?? 0) + 1);
    const vm: Vm = { vmid, node, config, knownFrom: Date.now() + this.latency.broadcast };
    this.vms.set(vmid, vm);
    return vm;
  }

  removeVm(vmid: number): void {
    this.vms.delete(vmid);
    for (const members of this.pools.values()) members.delete(vmid);
  }

  newMac(vmid: number, card: string): string {
    const hex = this.#draw(vmid, card).slice(0, 6).toUpperCase();
    return ['BC:24:11', ...(hex.match(/../g) ?? [])].join(':');
  }

  newUuid(vmid: number, what: string): string {
    const hex = this.#draw(vmid, what);
    return [
      hex.slice(0, 8),
      hex.slice(8, 12),
      `4${hex.slice(13, 16)}`,
      `8${hex.slice(17, 20)}`,
      hex.slice(20, 32),
    ].join('-');
  }

  /** A worker of a type, which faults can slow down or fail. */
  startTask(node: string, type: string, id: string, user: string, work: (log: Log) => Promise<void>): string {
    return this.tasks.start(node, type, id, user, async (log) => {
      const slow = this.faults.strikeTask('slow-task', type);
      if (slow) await this.sleep(slow.ms);
      const fail = this.faults.strikeTask('fail-task', type);
      if (fail) throw new Error(fail.message);
      await work(log);
    });
  }

  /**
   * Runs `work` while holding the lock on a VM's configuration file.
   * @param clone a clone waits a tenth as long as the rest (1 s, not 10), and shares the lock on what it copies
   * @throws PveError after latency.lockTimeout
   */
  async withFileLock<T>(vmid: number, work: () => Promise<T> | T, clone?: 'source' | 'copy'): Promise<T> {
    const refusal = `can't lock file '/var/lock/qemu-server/lock-${vmid}.conf' - got timeout`;
    if (this.faults.isFileLocked(vmid)) throw died(refusal);
    const { lockTimeout } = this.latency;
    return this.#fileLocks.hold(
      { id: String(vmid), refusal },
      clone ? lockTimeout / 10 : lockTimeout,
      work,
      clone === 'source',
    );
  }

  /** Copies onto a storage, as latency.cloneQueue has it. @throws PveError after latency.storageLockTimeout */
  async copyOnto(storage: string, node: string): Promise<void> {
    const { clone, cloneQueue, storageLockTimeout } = this.latency;
    if (cloneQueue === 'none') return this.sleep(clone);
    const { shared } = this.volumes.storage(storage);
    const file = `/var/lock/pve-manager/pve-storage-${storage}`;
    const lock: Lock = shared
      ? { id: storage, refusal: `cfs-lock 'storage-${storage}' error: got lock request timeout` }
      : { id: `${node} ${storage}`, refusal: `can't lock file '${file}' - got timeout` };
    await this.#storageLocks.hold(lock, storageLockTimeout, () => this.sleep(clone));
  }

  /** Time that passes for a request or a task, whose type a fault may hang. Never resolves once the lab is closed. */
  async sleep(ms: number): Promise<void> {
    await this.#wait(ms);
    const task = this.tasks.current();
    while (task && this.faults.isHanging(task.type)) await this.#wait(HANG_LOOK);
  }

  #wait(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        resolve();
      }, ms);
      this.#timers.add(timer);
    });
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
  }

  snapshot(): Snapshot {
    const vms = [...this.vms.values()].sort((a, b) => a.vmid - b.vmid);
    return {
      vms: vms.map((vm) => ({
        vmid: vm.vmid,
        node: vm.node,
        status: vm.running ? 'running' : 'stopped',
        pool: this.poolOf(vm.vmid),
        config: withoutVolatile(vm.config),
      })),
      volumes: this.volumes.all().map((volume) => ({ ...volume })),
      storages: this.volumes.storages().map((storage) => ({ ...storage })),
      locks: vms.flatMap((vm) => {
        const lock = this.lockOf(vm);
        return lock ? [{ vmid: vm.vmid, lock }] : [];
      }),
    };
  }

  #draw(vmid: number, what: string): string {
    return createHash('sha256')
      .update(`${vmid} ${this.#born.get(vmid) ?? 0} ${what}`)
      .digest('hex');
  }
}

/** Cards' models and options without their MAC. */
function withoutVolatile(config: Vm['config']): Vm['config'] {
  const kept: Vm['config'] = {};
  for (const key of Object.keys(config).sort()) {
    const value = config[key];
    if (value === undefined || ['digest', 'meta', 'smbios1', 'vmgenid'].includes(key)) continue;
    kept[key] = /^net\d+$/.test(key) ? printProperties(withoutMac(String(value))) : value;
  }
  return kept;
}

function withoutMac(net: string): Map<string, string> {
  const card = parseProperties(net);
  for (const [key, value] of card) if (/^([0-9A-F]{2}:){5}[0-9A-F]{2}$/i.test(value)) card.set(key, '(mac)');
  return card;
}

/** The drive a VM starts from: the first of its boot order, else its first disk. */
export function bootDisk(config: Vm['config']): string | undefined {
  const drives = Object.keys(config).filter((key) => isDrive(key) && !/^(unused|efidisk|tpmstate)/.test(key));
  const disks = drives.filter((key) => parseDrive(config[key] ?? '').get('media') !== 'cdrom').sort();
  const order =
    parseProperties(String(config.boot ?? ''), 'legacy')
      .get('order')
      ?.split(';') ?? [];
  return order.find((key) => disks.includes(key)) ?? disks[0];
}
