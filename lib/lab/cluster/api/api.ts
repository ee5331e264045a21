import { validate } from '../validation/index.ts';
import { withDefaults } from './defaults.ts';
import { ApiError, notFound } from './errors.ts';
import { apiVersionOf, builtInKinds, type Kind, resourceName } from './kinds.ts';
import { applier, serverSideApply, updater } from './server-side-apply.ts';
import type { ObjectStore } from './store.ts';
import { isRecord, itemsAt, type Thing, textAt } from './thing.ts';

/** A webhook: may refuse what is applied by throwing ApiError. */
export type Webhook = (object: Thing) => void;

/** `update`: as what kubectl does without --server-side, whose fields are an update's. */
export type ApplyOptions = { manager: string; force?: boolean; dryRun?: boolean; update?: boolean };

/** Namespaces that nobody deletes. */
const PERMANENT = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];

/** The emulated API server: what `kubectl` may ask, in front of the store that controllers write to directly. */
export class Api {
  readonly store: ObjectStore;
  readonly webhooks: Webhook[] = [];
  serviceCidr = '10.43.0.0/16';

  constructor(store: ObjectStore) {
    this.store = store;
  }

  /** Built-in kinds, and those whose CustomResourceDefinition is there. */
  kinds(): Kind[] {
    const custom = this.store.list('apiextensions.k8s.io/v1', 'CustomResourceDefinition').flatMap((definition) =>
      itemsAt(definition, 'spec.versions').map((version) => ({
        group: textAt(definition, 'spec.group'),
        version: textAt(version, 'name'),
        kind: textAt(definition, 'spec.names.kind'),
        plural: textAt(definition, 'spec.names.plural'),
        namespaced: textAt(definition, 'spec.scope') === 'Namespaced',
        short: [],
      })),
    );
    return [...builtInKinds, ...custom];
  }

  kindOf(object: { apiVersion: string; kind: string }): Kind | undefined {
    return this.kinds().find((kind) => apiVersionOf(kind) === object.apiVersion && kind.kind === object.kind);
  }

  /**
   * Server-side apply.
   * @returns the object as it is now (or would be, in a dry run)
   * @throws ApiError, FieldConflict with the API server's words
   */
  apply(kind: Kind, sent: Thing, { manager, force = false, dryRun = false, update = false }: ApplyOptions): Thing {
    const object = withoutNull(this.#placed(kind, sent));
    const { name, namespace } = object.metadata;
    const live = this.store.get(object.apiVersion, object.kind, name, namespace);
    if (!live) this.#needNamespace(namespace, kind, name);
    const owners = live ? this.store.owners(live) : new Map();
    const who = update ? updater(manager, object) : applier(manager);
    const merged = serverSideApply(live, owners, object, who, force);
    const complete = withDefaults(merged.object, this.store, this.serviceCidr);
    validate(kind, object, complete, live);
    for (const webhook of this.webhooks) webhook(complete);
    return dryRun ? complete : this.store.put(complete, manager, merged.owners);
  }

  get(kind: Kind, name: string, namespace: string | undefined): Thing {
    const found = this.find(kind, name, namespace);
    if (!found) throw notFound(resourceName(kind), name);
    return found;
  }

  find(kind: Kind, name: string, namespace: string | undefined): Thing | undefined {
    return this.store.get(apiVersionOf(kind), kind.kind, name, kind.namespaced ? namespace : undefined);
  }

  list(kind: Kind, namespace: string | undefined): Thing[] {
    return this.store.list(apiVersionOf(kind), kind.kind, kind.namespaced ? namespace : undefined);
  }

  delete(kind: Kind, name: string, namespace: string | undefined): Thing {
    const object = this.get(kind, name, namespace);
    if (object.kind === 'Namespace' && PERMANENT.includes(name))
      throw new ApiError('Forbidden', `namespaces "${name}" is forbidden: this namespace may not be deleted`);
    this.store.delete(object);
    return object;
  }

  /** As sent, in the namespace where it will live. */
  #placed(kind: Kind, sent: Thing): Thing {
    // One that is given for a kind without namespaces is passed over.
    const { namespace = 'default', ...metadata } = sent.metadata;
    return { ...sent, metadata: kind.namespaced ? { ...metadata, namespace } : metadata };
  }

  #needNamespace(namespace: string | undefined, kind: Kind, name: string): void {
    if (namespace === undefined) return;
    const found = this.store.get('v1', 'Namespace', namespace);
    if (!found) throw notFound('namespaces', namespace);
    if (found.metadata.deletionTimestamp)
      throw new ApiError(
        'Forbidden',
        `${resourceName(kind)} "${name}" is forbidden: unable to create new content in namespace ${namespace} because it is being terminated`,
      );
  }
}

/** `null` says nothing (kubectl sends it for an empty creationTimestamp), and a status is not the applier's. */
function withoutNull({ apiVersion, kind, metadata, status: _status, ...rest }: Thing): Thing {
  return { ...strip(rest), apiVersion, kind, metadata: { ...strip(metadata), name: metadata.name } };
}

function strip(record: Record<string, unknown>): Record<string, unknown> {
  const bare = (value: unknown): unknown =>
    Array.isArray(value) ? value.map(bare) : isRecord(value) ? strip(value) : value;
  return Object.fromEntries(
    Object.entries(record).flatMap(([key, value]) =>
      value === null || value === undefined ? [] : [[key, bare(value)]],
    ),
  );
}
