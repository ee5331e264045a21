import type { PortContext } from './index.ts';
import type { Ssh } from './types.ts';

export function connectSsh(_context: PortContext): Ssh & { close(): Promise<void> } {
  throw new Error('not built yet');
}
