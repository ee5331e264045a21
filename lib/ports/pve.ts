import type { PortContext } from './index.ts';
import type { Pve } from './types.ts';

export function connectPve(_context: PortContext): Pve {
  throw new Error('not built yet');
}
