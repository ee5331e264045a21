import { syncDataPlane } from '../traefik/data-plane.ts';
import { bundled } from './bundled.ts';
import { certificates } from './certificates.ts';
import { endpoints } from './endpoints.ts';
import { garbage } from './garbage.ts';
import { helm } from './helm.ts';
import { jobs } from './jobs.ts';
import type { Controller } from './loop.ts';
import { metallb } from './metallb.ts';
import { nodes } from './nodes.ts';
import { pods } from './pods.ts';
import { servicelb } from './servicelb.ts';
import { storage } from './storage.ts';
import { workloads } from './workloads.ts';

/** In the order in which they look; the order is part of what makes runs alike. */
export const controllers: readonly Controller[] = [
  bundled,
  nodes,
  helm,
  jobs,
  workloads,
  storage,
  pods,
  endpoints,
  servicelb,
  metallb,
  certificates,
  garbage,
  syncDataPlane,
];
