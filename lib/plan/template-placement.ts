import type { Config } from '../config/schema.ts';
import type { StorageSeen } from '../observe/vms.ts';
import type { Answer } from '../ports/types.ts';

/** A template: where it is, and its VMID. */
export type TemplateAt = { node: string; vmid: number };

/**
 * Where templates belong. A VM cannot be cloned across nodes from a disk that only one of them has; so:
 * `per-node` (template.storage is local to its node): each node has its own, VMID template.vmid + index;
 * `shared` (every node sees template.storage): one, on the build node.
 */
export type Placement = {
  mode: 'per-node' | 'shared';
  all: TemplateAt[];
  /** The template that VMs on `node` are cloned from. */
  for(node: string): TemplateAt;
};

/** @param shared whether Proxmox reports template.storage as shared */
export function placeTemplates({ proxmox, template }: Config, shared: boolean): Placement {
  if (shared) {
    const only = { node: template.build_node, vmid: template.vmid };
    return { mode: 'shared', all: [only], for: () => only };
  }
  const all = proxmox.nodes.map(({ name }, i) => ({ node: name, vmid: template.vmid + i }));
  return {
    mode: 'per-node',
    all,
    for: (node) => {
      const found = all.find((at) => at.node === node);
      if (!found) throw new Error(`no Proxmox node ${node}`);
      return found;
    },
  };
}

/** Whether a node's storage of that name is shared; false when that is not known. */
export function isShared(seen: Answer<StorageSeen[]> | undefined, storage: string): boolean {
  return seen?.ok === true && seen.value.some(({ name, shared }) => name === storage && shared);
}
