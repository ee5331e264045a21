import type { Lab } from '../lab-context.ts';
import type { RunContext } from '../main.ts';
import { readSources } from '../observe/template.ts';
import { readStorages } from '../observe/vms.ts';
import { placementOf } from '../plan/template.ts';
import { wantedStamp } from '../plan/template-build.ts';
import { parseNotes } from '../plan/template-hash.ts';
import type { Ports } from '../ports/types.ts';
import type { Proof } from '../step.ts';

type VmConfig = { name?: string; description?: string; template?: number | string };

/** Proves that every node has its template, of what homelab.yaml and this toolkit say now. */
export async function verifyTemplate(lab: Lab, ports: Ports, context: RunContext): Promise<Proof[]> {
  const { template } = lab.config;
  const [storages, sources] = await Promise.all([
    readStorages(ports.pve, [template.build_node]),
    readSources(lab, ports.files, context),
  ]);
  const wanted = wantedStamp(lab, sources);
  return Promise.all(
    placementOf(lab, { storages }).all.map(async ({ node, vmid }): Promise<Proof> => {
      const claim = `template ${vmid} on ${node} is current`;
      const config = await ports.pve.get<VmConfig>(`/nodes/${node}/qemu/${vmid}/config`);
      if (!config.ok) return { claim, host: node, ok: false, detail: config.reason };
      const { value } = config;
      const stamp = parseNotes(value.description ?? '');
      const isTemplate = Number(value.template ?? 0) === 1;
      const ok = isTemplate && stamp !== undefined && stamp.hash === wanted?.hash;
      const detail = isTemplate
        ? `${value.name}, sha256:${stamp?.hash.slice(0, 12) ?? 'none'}`
        : 'it is not a template';
      return { claim, host: node, ok, detail };
    }),
  );
}
