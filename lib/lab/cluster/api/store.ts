import { randomUUID } from 'node:crypto';
import type { Path } from './fields.ts';
import { type Owners, ownersAfterUpdate, same } from './server-side-apply.ts';
import type { Thing } from './thing.ts';

type Stored = { object: Thing; owners: Owners };

/** Deleted only when a controller has tidied up behind them: until then they carry a deletionTimestamp. */
const FINALIZED = ['Namespace', 'Node', 'PersistentVolumeClaim', 'HelmChart'];

/**
 * The objects of one emulated cluster: versions, uids, generations, who owns which field. Objects are never
 * changed in place: a writer puts a new one. A write that changes nothing is none.
 */
export class ObjectStore {
  readonly #byKey = new Map<string, Stored>();
  readonly #onChange: () => void;
  #version = 1;

  constructor(onChange: () => void) {
    this.#onChange = onChange;
  }

  get version(): string {
    return String(this.#version);
  }

  get(apiVersion: string, kind: string, name: string, namespace?: string): Thing | undefined {
    return this.#byKey.get(keyOf(apiVersion, kind, name, namespace))?.object;
  }

  /** In the order of namespace and name. */
  list(apiVersion: string, kind: string, namespace?: string): Thing[] {
    const prefix = `${apiVersion}|${kind}|${namespace === undefined ? '' : `${namespace}|`}`;
    return [...this.#byKey.keys()]
      .filter((key) => key.startsWith(prefix))
      .sort()
      .flatMap((key) => this.#byKey.get(key)?.object ?? []);
  }

  all(): Thing[] {
    return [...this.#byKey.keys()].sort().flatMap((key) => this.#byKey.get(key)?.object ?? []);
  }

  owners(object: Thing): Owners {
    return this.#byKey.get(keyFor(object))?.owners ?? new Map();
  }

  /**
   * Creates or replaces an object as a controller does.
   * @param owners known from server-side apply; otherwise the fields that changed become `manager`'s
   */
  put(object: Thing, manager = 'k3s', owners?: Owners): Thing {
    const before = this.#byKey.get(keyFor(object));
    const nextOwners = owners ?? ownersAfterUpdate(before?.object, object, before?.owners ?? new Map(), manager);
    const metadata = { ...object.metadata };
    for (const field of ['uid', 'resourceVersion', 'generation', 'creationTimestamp', 'managedFields'])
      delete metadata[field];
    const bare: Thing = { ...object, metadata };
    if (before) {
      const { uid, resourceVersion, generation, creationTimestamp } = before.object.metadata;
      const kept = { ...metadata, uid, resourceVersion, generation, creationTimestamp };
      if (same({ ...bare, metadata: kept }, before.object)) {
        before.owners = nextOwners;
        return before.object;
      }
      const respecified = !same(bare.spec, before.object.spec);
      return this.#set(
        { ...bare, metadata: { ...kept, generation: (generation ?? 1) + (respecified ? 1 : 0) } },
        nextOwners,
      );
    }
    const born = {
      uid: randomUUID(),
      generation: 1,
      creationTimestamp: new Date().toISOString().replace(/\.\d+Z$/, 'Z'),
    };
    return this.#set({ ...bare, metadata: { ...metadata, ...born } }, nextOwners);
  }

  /** `object` with fields of its status replaced. */
  putStatus(object: Thing, status: Record<string, unknown>): Thing {
    const before = typeof object.status === 'object' ? object.status : {};
    return this.put({ ...object, status: { ...before, ...status } });
  }

  /** Deletes, or marks as deleted what a controller must tidy up first. */
  delete(object: Thing): void {
    if (!FINALIZED.includes(object.kind)) this.purge(object);
    else if (!object.metadata.deletionTimestamp)
      this.put({ ...object, metadata: { ...object.metadata, deletionTimestamp: new Date().toISOString() } });
  }

  /** Gone for good. */
  purge(object: Thing): void {
    if (!this.#byKey.delete(keyFor(object))) return;
    this.#version += 1;
    this.#onChange();
  }

  /** Everything, as text: what a snapshot of etcd holds. */
  dump(): string {
    const all = [...this.#byKey.values()].map(({ object, owners }) => ({
      object,
      owners: [...owners].map(([key, { path, managers }]) => [key, { path, managers: [...managers] }] as const),
    }));
    return JSON.stringify(all);
  }

  /** Replaces everything by what `dump` said. */
  load(dump: string): void {
    type Dumped = { object: Thing; owners: [string, { path: Path; managers: string[] }][] };
    const all = JSON.parse(dump) as Dumped[];
    this.#byKey.clear();
    for (const { object, owners } of all)
      this.#byKey.set(keyFor(object), {
        object,
        owners: new Map(owners.map(([key, { path, managers }]) => [key, { path, managers: new Set(managers) }])),
      });
    this.#version += 1;
    this.#onChange();
  }

  #set(object: Thing, owners: Owners): Thing {
    this.#version += 1;
    const next = { ...object, metadata: { ...object.metadata, resourceVersion: String(this.#version) } };
    this.#byKey.set(keyFor(next), { object: next, owners });
    this.#onChange();
    return next;
  }
}

function keyFor({ apiVersion, kind, metadata: { name, namespace } }: Thing): string {
  return keyOf(apiVersion, kind, name, namespace);
}

function keyOf(apiVersion: string, kind: string, name: string, namespace = ''): string {
  return `${apiVersion}|${kind}|${namespace}|${name}`;
}
