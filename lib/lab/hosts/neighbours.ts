import type { World } from '../types.ts';
import type { RunningHost } from './spec.ts';

const worlds = new WeakMap<World, Map<string, RunningHost>>();

/** Machines that run in a world, by address: who answers ARP, pings and SSH. */
export function neighbours(world: World): Map<string, RunningHost> {
  const found = worlds.get(world) ?? new Map<string, RunningHost>();
  worlds.set(world, found);
  return found;
}
