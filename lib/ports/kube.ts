import type { PortContext } from './index.ts';
import type { Kube, Ssh } from './types.ts';

export function connectKube(_context: PortContext, _ssh: Ssh): Kube {
  throw new Error('not built yet');
}
