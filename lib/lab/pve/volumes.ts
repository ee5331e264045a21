import { died } from './errors.ts';
import type { StorageSpec } from './types.ts';

export type Volume = {
  volid: string;
  storage: string;
  /** The node on which it lies; none on shared storage. */
  node?: string;
  content: string;
  format: string;
  bytes: number;
  vmid?: number;
  /** An operating system is on it: a VM that starts from it comes up. */
  installed?: boolean;
  /** The base of a linked clone. */
  base?: string;
};

/** Everything that storages hold. A volume on node-local storage exists on its node only. */
export class Volumes {
  readonly #volumes: Volume[] = [];
  readonly #storages: Map<string, StorageSpec>;
  /** Whether a storage is full, which a fault may say. */
  readonly #isFull: (storage: string, node: string) => boolean;

  constructor(storages: readonly StorageSpec[], isFull: (storage: string, node: string) => boolean) {
    this.#storages = new Map(storages.map((storage) => [storage.name, storage]));
    this.#isFull = isFull;
  }

  storages(): StorageSpec[] {
    return [...this.#storages.values()];
  }

  storage(name: string): StorageSpec {
    const found = this.#storages.get(name);
    if (!found) throw died(`storage '${name}' does not exist`);
    return found;
  }

  /** @throws PveError for a name that is taken */
  define(spec: StorageSpec): void {
    if (this.#storages.has(spec.name)) throw died(`create storage failed: storage ID '${spec.name}' already defined`);
    this.#storages.set(spec.name, spec);
  }

  change(name: string, changes: Partial<StorageSpec>): void {
    this.#storages.set(name, { ...this.storage(name), ...changes });
  }

  /** Only the definition goes; what lies on the storage stays there. */
  undefine(name: string): void {
    this.storage(name);
    this.#storages.delete(name);
  }

  typeOf({ type, shared, content }: StorageSpec): string {
    return type ?? (shared ? 'nfs' : content.includes('images') ? 'zfspool' : 'dir');
  }

  find(volid: string, node: string): Volume | undefined {
    return this.#volumes.find((v) => v.volid === volid && (v.node === undefined || v.node === node));
  }

  list(storage: string, node: string): Volume[] {
    return this.#volumes.filter((v) => v.storage === storage && (v.node === undefined || v.node === node));
  }

  ofVm(vmid: number): Volume[] {
    return this.#volumes.filter((v) => v.vmid === vmid);
  }

  all(): Volume[] {
    return [...this.#volumes].sort((a, b) => (`${a.node} ${a.volid}` < `${b.node} ${b.volid}` ? -1 : 1));
  }

  space(storage: string, node: string): { total: number; used: number; avail: number } {
    const total = this.storage(storage).bytes ?? 2 ** 40;
    const used = this.#isFull(storage, node)
      ? total
      : this.list(storage, node).reduce((sum, { bytes }) => sum + bytes, 0);
    return { total, used: Math.min(used, total), avail: Math.max(0, total - used) };
  }

  /** A new disk of a VM, under the lowest free number. @throws PveError when the storage takes no disks or is full */
  allocate(
    storage: string,
    node: string,
    vmid: number,
    bytes: number,
    more: Pick<Volume, 'installed' | 'base'> & { cloudInit?: boolean } = {},
  ): Volume {
    const spec = this.storage(storage);
    if (!spec.content.includes('images')) throw died(`storage '${storage}' does not support content-type 'images'`);
    const { cloudInit, ...rest } = more;
    const file = this.typeOf(spec) !== 'zfspool' && this.typeOf(spec) !== 'lvmthin';
    const named = (stem: string): string => {
      const own = file ? `${vmid}/${stem}.${cloudInit ? 'qcow2' : 'raw'}` : stem;
      return `${storage}:${rest.base ? `${rest.base.slice(storage.length + 1)}/` : ''}${own}`;
    };
    const taken = (volid: string): boolean => {
      const leaf = volid.split(/[/:]/).at(-1);
      return this.list(storage, node).some(
        (v) =>
          v.volid
            .split(/[/:]/)
            .at(-1)
            ?.replace(/^base-/, 'vm-') === leaf,
      );
    };
    let volid = named(`vm-${vmid}-cloudinit`);
    if (cloudInit) {
      if (taken(volid)) throw died(`disk image '${volid}' already exists`);
    } else {
      let number = 0;
      do volid = named(`vm-${vmid}-disk-${number++}`);
      while (taken(volid));
    }
    if (this.#isFull(storage, node) || bytes > this.space(storage, node).avail)
      throw died(
        this.typeOf(spec) === 'zfspool'
          ? `zfs error: cannot create 'rpool/data/${volid.slice(storage.length + 1)}': out of space`
          : `unable to create image: No space left on device`,
      );
    return this.add({ volid, storage, node, content: 'images', format: 'raw', bytes, vmid, ...rest });
  }

  /** Records a volume; on shared storage it belongs to no node. */
  add(volume: Volume): Volume {
    const stored = { ...volume };
    if (this.storage(volume.storage).shared) delete stored.node;
    this.#volumes.push(stored);
    return stored;
  }

  free(volume: Volume): void {
    const inUse = this.#volumes.some((v) => v.base === volume.volid && v.node === volume.node);
    if (inUse) throw died(`base volume '${volume.volid}' is still in use by linked cloned`);
    const at = this.#volumes.indexOf(volume);
    if (at >= 0) this.#volumes.splice(at, 1);
  }
}
