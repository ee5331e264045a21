import { HomelabError } from '../errors.ts';
import { isMap, type Loose, mapsIn, textOf } from '../loose.ts';
import { markOf } from '../render/tfvars.ts';
import { differenceText, restartsVm } from './vm-attributes.ts';

/** What Terraform would do to one VM. */
export type VmChange = {
  name: string;
  action: 'create' | 'update' | 'replace' | 'delete';
  /** What changes, with its values: "memory: 64 GiB → 32 GiB". */
  differences: string[];
  /** Whether the change restarts the VM, which runs. */
  restarts?: boolean;
  /** Whose the VM is by its notes, as Terraform found them; left out: no lab's. */
  markBefore?: { lab: string; name: string };
};

/** A VM in Terraform's state. */
export type StateVm = {
  name: string;
  vmid: number;
  node: string;
  tainted: boolean;
  /** Its notes; ours say whose VM it is. */
  description?: string;
  /** Everything that the provider keeps of it, in its own shape. */
  attributes?: Loose;
};

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
    const changed =
      action === 'create' || action === 'delete' ? [] : leaves(change.before, change.after, change.after_unknown, []);
    // Of a VM that is made anew, all is new; what matters is why.
    const differences =
      action === 'replace'
        ? changed.flatMap(({ path, text }) => (replaced.has(path) && text ? `${text} (needs a new VM)` : []))
        : changed.flatMap(({ text }) => text ?? []);
    const runs = child(change.before, 'started') !== false;
    const restarts = action === 'update' && runs && changed.some(({ path }) => restartsVm(path));
    const markBefore = markOf(textOf(child(change.before, 'description')) ?? '');
    return [
      { name: String(index), action, differences, ...(restarts && { restarts }), ...(markBefore && { markBefore }) },
    ];
  });
}

/**
 * The VMs in a terraform.tfstate (format 4). Undefined text: none.
 * @throws HomelabError when it is not such a file
 */
export function parseState(text: string | undefined, file = 'terraform.tfstate'): StateVm[] {
  if (!text?.trim()) return [];
  return mapsIn(readState(text, file).resources)
    .filter(({ mode, type }) => mode === 'managed' && type === RESOURCE)
    .flatMap(({ instances }) => mapsIn(instances))
    .map((instance) => {
      const attributes = isMap(instance.attributes) ? instance.attributes : {};
      return {
        name: String(instance.index_key ?? ''),
        vmid: Number(attributes.vm_id ?? 0),
        node: textOf(attributes.node_name) ?? '',
        tainted: instance.status === 'tainted',
        description: textOf(attributes.description),
        attributes,
      };
    });
}

function readState(text: string, file: string): Loose {
  let state: unknown;
  try {
    state = JSON.parse(text);
  } catch (error) {
    throw unreadable(file, (error as Error).message);
  }
  if (!isMap(state)) throw unreadable(file, 'it is no JSON object');
  if (state.version !== 4) throw unreadable(file, `its format is ${JSON.stringify(state.version)}, not 4`);
  return state;
}

function unreadable(file: string, why: string): HomelabError {
  return new HomelabError(`Terraform's state (${file}) cannot be read: ${why}`, {
    fix: 'terraform.tfstate.backup beside it is the one before the last change: put it in its place',
  });
}

function actionOf(actions: readonly string[]): VmChange['action'] | undefined {
  if (actions.includes('create') && actions.includes('delete')) return 'replace';
  return (['create', 'update', 'delete'] as const).find((action) => actions.includes(action));
}

type Leaf = { path: string; text?: string };

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
  return [{ path, text: differenceText(path, before, after) }];
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
