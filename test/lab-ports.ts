import { openLab } from '../lib/lab-context.ts';
import { buildPorts } from '../lib/ports/index.ts';
import type { Ports } from '../lib/ports/types.ts';

/** Ports as a script has them, for looking at a lab and changing it behind the scripts' backs. */
export async function withPorts<T>(configFile: string, work: (ports: Ports) => Promise<T>): Promise<T> {
  const { lab, secrets, settings } = openLab(configFile, {});
  const ports = buildPorts(lab, secrets, settings);
  try {
    return await work(ports);
  } finally {
    await ports.close();
  }
}
