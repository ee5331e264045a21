import type { Config } from '../config/schema.ts';
import type { KubeObject } from '../step.ts';

/** Where an object stands that is in no file. */
export const CLUSTER = 'the cluster';

/** An object and where it stands: a file, or the cluster. */
export type Placed = { place: string; object: KubeObject };

/** What breaks the lab's conventions. An `error` does not work or loses data; a `warning` may be meant so. */
export type ConventionProblem = {
  level: 'error' | 'warning';
  place: string;
  /** "Ingress my-app/my-app". */
  object: string;
  message: string;
  fix: string;
};

export type Conventions = Pick<Config, 'domain' | 'ingress' | 'storage_classes'>;
