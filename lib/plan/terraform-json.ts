/** What Terraform would do to one VM. */
export type VmChange = {
  name: string;
  action: 'create' | 'update' | 'replace' | 'delete';
  /** Attributes that change, with their values: "memory.dedicated: 65536 → 32768". */
  differences: string[];
};

/** A VM in Terraform's state. */
export type StateVm = { name: string; vmid: number; node: string; tainted: boolean };

const RESOURCE = 'proxmox_virtual_environment_vm';
const TYPE_AND_NAME = `${RESOURCE}.node`;

/** The address of a VM in terraform/main.tf. */
export function addressIn(name: string): string {
  return `${TYPE_AND_NAME}[${JSON.stringify(name)}]`;
}

type PlanJson = {
  resource_changes?: {
    type: string;
    index?: string | number;
    change: {
      actions: string[];
      before: unknown;
      after: unknown;
      after_unknown?: unknown;
      replace_paths?: (string | number)[][];
    };
  }[];
};

/** What `terraform show -json PLANFILE` says of the VMs; those that stay as they are are left out. */
export function parsePlan(json: string): VmChange[] {
  const { resource_changes: changes = [] } = JSON.parse(json) as PlanJson;
  return changes.flatMap(({ type, index, change }) => {
    const action = actionOf(change.actions);
    if (type !== RESOURCE || !action) return [];
    const replaced = new Set((change.replace_paths ?? []).map(pathText));
    const differences =
      action === 'create' || action === 'delete'
        ? []
        : leaves(change.before, change.after, change.after_unknown, []).map(({ path, text }) =>
            replaced.has(path) ? `${text} (needs a new VM)` : text,
          );
    return [{ name: String(index), action, differences }];
  });
}

/** The VMs in a terraform.tfstate (format 4). Undefined text: none. */
export function parseState(text: string | undefined): StateVm[] {
  if (!text?.trim()) return [];
  const { resources = [] } = JSON.parse(text) as {
    resources?: {
      mode: string;
      type: string;
      instances: { index_key?: string; status?: string; attributes: { vm_id?: number; node_name?: string } }[];
    }[];
  };
  return resources
    .filter(({ mode, type }) => mode === 'managed' && type === RESOURCE)
    .flatMap(({ instances }) =>
      instances.map(({ index_key = '', status, attributes }) => ({
        name: index_key,
        vmid: attributes.vm_id ?? 0,
        node: attributes.node_name ?? '',
        tainted: status === 'tainted',
      })),
    );
}

function actionOf(actions: readonly string[]): VmChange['action'] | undefined {
  if (actions.includes('create') && actions.includes('delete')) return 'replace';
  return (['create', 'update', 'delete'] as const).find((action) => actions.includes(action));
}

type Leaf = { path: string; text: string };

/** Values that differ, each with its path; what the provider only knows afterwards is no difference. */
function leaves(before: unknown, after: unknown, unknown: unknown, keys: (string | number)[]): Leaf[] {
  if (unknown === true || JSON.stringify(before) === JSON.stringify(after)) return [];
  const parts = [before, after].filter((value) => value !== null && value !== undefined);
  if (parts.length === 2 && parts.every((value) => typeof value === 'object')) {
    const names = new Set([...Object.keys(before as object), ...Object.keys(after as object)]);
    return [...names].flatMap((name) =>
      leaves(child(before, name), child(after, name), child(unknown, name), [...keys, name]),
    );
  }
  const path = pathText(keys);
  return [{ path, text: `${path}: ${JSON.stringify(before ?? null)} → ${JSON.stringify(after ?? null)}` }];
}

function child(value: unknown, key: string): unknown {
  return value !== null && typeof value === 'object' ? (value as Record<string, unknown>)[key] : undefined;
}

/** Blocks are lists of one in Terraform; the 0 says nothing to a person. */
function pathText(path: readonly (string | number)[]): string {
  return path
    .map(String)
    .filter((key) => key !== '0')
    .join('.');
}
