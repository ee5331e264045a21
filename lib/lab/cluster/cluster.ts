import { randomBytes } from 'node:crypto';
import { messageOf } from '../../errors.ts';
import type { LabHost } from '../types.ts';
import { Api } from './api/api.ts';
import { ObjectStore } from './api/store.ts';
import { fullName, shortHash, type Thing } from './api/thing.ts';
import { certManagerWebhook } from './controllers/certificates.ts';
import { controllers } from './controllers/index.ts';
import { Loop } from './controllers/loop.ts';
import { metallbWebhook } from './controllers/metallb.ts';
import type { Faults } from './faults.ts';
import type { ClusterOptions } from './index.ts';
import type { K3sConfig } from './k3s/config.ts';
import type { Role } from './k3s/flags.ts';
import type { Pace } from './pace.ts';
import { DataPlane } from './traefik/data-plane.ts';

/** A K3s process that runs on a host. */
export type Kubelet = { host: LabHost; node: string; role: Role; version: string; generation: string };

/** Folders that stand for volumes, by the name of the PersistentVolume. */
export type Volumes = Map<string, string>;

/** One emulated cluster: its objects, its etcd members, the processes that run, and the controllers. */
export class Cluster {
  /** etcd's cluster ID, by which members know each other; a reset makes a new one. */
  id = randomBytes(8).toString('hex');
  /** Those that it had before. */
  readonly formerIds = new Set<string>();
  readonly options: ClusterOptions;
  readonly pace: Pace;
  readonly faults: Faults;
  readonly store: ObjectStore;
  readonly api: Api;
  readonly loop: Loop;
  readonly dataPlane: DataPlane;
  /** etcd's members by node name, with those that do not run. */
  readonly members = new Set<string>();
  readonly kubelets = new Map<string, Kubelet>();
  readonly logs = new Map<string, string>();
  /** Pods whose programs run on this machine, by uid: how they are told to end. */
  readonly sandboxes = new Map<string, () => Promise<void>>();
  readonly volumes: Volumes = new Map();
  /** Real programs behind Services, by "namespace/name". */
  readonly backends: Map<string, { host: string; port: number }>;
  /** The secret part of the token. */
  readonly secret: string;
  /** Another secret with which only agents may join. */
  readonly agentSecret: string | undefined;
  readonly caHash: string;
  /** What all servers have in common. */
  readonly critical: Record<string, string>;
  /** Embedded etcd, which other servers can join; else SQLite. */
  readonly etcd: boolean;
  readonly disabled: ReadonlySet<string>;
  /** Addresses of load balancers that are answered for, with the node that does. */
  announced = new Map<string, { node: string; service: string }>();
  metallbServes = false;
  /** A server is being taken in: etcd takes one at a time. */
  learner: string | undefined;

  constructor(
    options: ClusterOptions,
    shared: { pace: Pace; faults: Faults; backends: Map<string, { host: string; port: number }> },
    given: { secret: string; caHash: string; critical: Record<string, string>; etcd: boolean; config: K3sConfig },
  ) {
    this.options = options;
    this.pace = shared.pace;
    this.faults = shared.faults;
    this.backends = shared.backends;
    this.secret = given.secret;
    this.agentSecret = given.config.text('agent-token');
    this.caHash = given.caHash;
    this.critical = given.critical;
    this.etcd = given.etcd;
    this.disabled = new Set(given.config.list('disable'));
    this.store = new ObjectStore(() => this.loop.poke());
    this.api = new Api(this.store);
    this.api.serviceCidr = given.critical['service-cidr'] ?? this.api.serviceCidr;
    this.api.webhooks.push(
      (object) => metallbWebhook(this, object),
      (object) => certManagerWebhook(this, object),
    );
    this.dataPlane = new DataPlane(this, options.endpoints);
    this.loop = new Loop(this, controllers);
  }

  /** Servers that run and are members. */
  servers(): Kubelet[] {
    return [...this.kubelets.values()].filter(({ role, node }) => role === 'server' && this.members.has(node));
  }

  /** Why the API does not serve, in the words that kubectl shows; undefined when it does. */
  refusal(): string | undefined {
    if (this.faults.api) return this.faults.api;
    if (this.loop.failure) return `defect of the emulator: ${messageOf(this.loop.failure)}`;
    return this.hasLeader() ? undefined : 'etcdserver: request timed out';
  }

  /** Whether enough members run to agree on one. */
  hasLeader(): boolean {
    return this.servers().length >= (this.etcd ? Math.floor(this.members.size / 2) + 1 : 1);
  }

  /** `k3s server --cluster-reset`: `node` is the only member. @param objects what a snapshot holds; left out: as they are */
  reset(node: string, objects?: string): void {
    this.formerIds.add(this.id);
    this.id = randomBytes(8).toString('hex');
    this.members.clear();
    this.members.add(node);
    if (objects !== undefined) this.store.load(objects);
  }

  /** A kubelet started: its node is looked at anew. */
  started(kubelet: Kubelet): void {
    this.kubelets.set(kubelet.node, kubelet);
    this.loop.poke();
  }

  /** A kubelet ended. When it was the last one, nothing is left to answer at a load balancer. */
  async stopped(node: string): Promise<void> {
    this.kubelets.delete(node);
    if (this.kubelets.size === 0) await this.dataPlane.clear();
    this.loop.poke();
  }

  /** An Event of an object, counted when it happens again. */
  event(about: Thing, type: 'Normal' | 'Warning', reason: string, message: string): void {
    const { namespace = 'default' } = about.metadata;
    const name = `${about.metadata.name}.${shortHash(`${about.kind}${fullName(about)}${reason}${message}`, 10)}`;
    if (this.store.get('v1', 'Event', name, namespace)) return;
    this.store.put({
      apiVersion: 'v1',
      kind: 'Event',
      metadata: { name, namespace },
      type,
      reason,
      message,
      count: 1,
      involvedObject: {
        apiVersion: about.apiVersion,
        kind: about.kind,
        name: about.metadata.name,
        namespace: about.metadata.namespace,
      },
    });
  }

  async close(): Promise<void> {
    await this.loop.close();
    await Promise.all([...this.sandboxes.values()].map((end) => end()));
    await this.dataPlane.close();
  }
}
