import type { Lab } from '../lab-context.ts';
import type { RunContext } from '../main.ts';
import { readSources } from '../observe/template.ts';
import { readStorages, readVms } from '../observe/vms.ts';
import { placementOf } from '../plan/template.ts';
import { reasonFor, wantedStamp } from '../plan/template-build.ts';
import { mayBeTemplate } from '../plan/template-placement.ts';
import type { Ports } from '../ports/types.ts';
import type { Proof } from '../step.ts';

/** Proves that every node has its template, of what homelab.yaml and this toolkit say now. */
export async function verifyTemplate(lab: Lab, ports: Ports, context: RunContext): Promise<Proof[]> {
  const { config } = lab;
  const [storages, vms, sources] = await Promise.all([
    readStorages(ports.pve, [config.template.build_node]),
    readVms(ports.pve, mayBeTemplate(config)),
    readSources(lab, ports.files, context),
  ]);
  const wanted = wantedStamp(lab, sources);
  const { all, mode } = placementOf(lab, { storages, vms, wanted });
  return all.map((at): Proof => {
    const claim = `${at.node} has a current template`;
    if (!vms.ok || !wanted)
      return { claim, host: at.node, ok: false, detail: vms.ok ? 'there is no public key' : vms.reason };
    const serves = mode === 'shared' ? ', for every node' : '';
    const detail = {
      current: `VM ${at.vmid}, sha256:${wanted.hash.slice(0, 12)}${serves}`,
      cloned: `VM ${at.vmid} is not there yet`,
      unconverted: `VM ${at.vmid} is no template`,
      absent: reasonFor(at, wanted),
    }[at.is];
    return { claim, host: at.node, ok: at.is === 'current', detail };
  });
}
