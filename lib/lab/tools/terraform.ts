import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Api } from './api.ts';
import { parseCommand, standIn } from './cli.ts';
import { addressIn, readVariables, State, TYPE, type Variables, withStateLock } from './terraform-files.ts';
import { toProvider } from './terraform-shape.ts';
import { type Attributes, createVm, destroyVm, NEEDS_NEW_VM, readVm, updateVm, wanted } from './terraform-vm.ts';

/**
 * Stands in for `terraform` with bpg/proxmox, as far as provision uses them: the same commands, the same files,
 * the same calls of the Proxmox API. It reads no HCL: terraform/main.tf is known to it.
 */
type Change = { name: string; actions: string[]; before: Attributes | null; after: Attributes | null };
/** `gone`: VMs of the state that are not there any more; whoever applies the plan forgets them. */
type PlanFile = { variables: Variables; changes: Change[]; gone: string[] };
type PlanOptions = { given: readonly string[]; targets: readonly string[]; refresh: boolean; destroy?: boolean };

const commands: Record<string, (argv: string[]) => Promise<number>> = {
  version: async (argv) => {
    const { option } = parseCommand(argv);
    const version = { terraform_version: '1.9.0', platform: process.platform, stand_in: true };
    say(option('json') ? JSON.stringify(version) : 'Terraform v1.9.0 (stand-in)');
    return 0;
  },
  init: async () => {
    mkdirSync('.terraform/providers/stand-in', { recursive: true });
    say('Terraform has been successfully initialized! (stand-in)');
    return 0;
  },
  plan: async (argv) => {
    const { option, options } = parseCommand(argv);
    return withStateLock(option('lock-timeout'), async () => {
      const plan = await makePlan({
        ...{ given: options.get('var') ?? [], targets: options.get('target') ?? [] },
        ...{ refresh: option('refresh') !== 'false', destroy: option('destroy') !== undefined },
      });
      const file = option('out');
      if (file) writeFileSync(file, JSON.stringify(plan), { mode: 0o600 });
      const count = (action: string): number => plan.changes.filter(({ actions }) => actions.includes(action)).length;
      say(`Plan: ${count('create')} to add, ${count('update')} to change, ${count('delete')} to destroy.`);
      return option('detailed-exitcode') && plan.changes.length > 0 ? 2 : 0;
    });
  },
  show: async (argv) => {
    const [file] = parseCommand(argv).words;
    const { changes } = readPlan(file);
    const resource_changes = changes.map(({ name, actions, before, after }) => ({
      address: addressIn(name),
      type: TYPE,
      name: 'node',
      index: name,
      change: {
        actions,
        before: before && toProvider(before),
        after: after && toProvider(after),
        replace_paths: actions.length === 2 ? replacing(before, after) : undefined,
      },
    }));
    say(JSON.stringify({ format_version: '1.2', resource_changes }));
    return 0;
  },
  apply: async (argv) => {
    const { option, options, words } = parseCommand(argv);
    return withStateLock(option('lock-timeout'), async () => {
      const plan = words[0]
        ? readPlan(words[0])
        : await makePlan({ given: options.get('var') ?? [], targets: options.get('target') ?? [], refresh: true });
      return applyAll(plan, Number(option('parallelism') ?? 10));
    });
  },
  destroy: async (argv) => {
    const { option, options } = parseCommand(argv);
    return withStateLock(option('lock-timeout'), async () => {
      const targets = options.get('target') ?? [];
      return applyAll(await makePlan({ given: [], targets, refresh: true, destroy: true }), 10);
    });
  },
  import: async (argv) => {
    const { option, words } = parseCommand(argv);
    const [address = '', id = ''] = words;
    const [node = '', vmid = ''] = id.split('/');
    return withStateLock(option('lock-timeout'), async () => {
      const state = new State();
      const name = nameIn(address);
      if (state.instances.has(name)) throw new Error(`Resource already managed by Terraform: ${address}`);
      const { nodes } = readVariables([]);
      if (!nodes[name]) throw new Error(`Configuration for import target does not exist: ${address}`);
      const attributes = await readVm(connect(readVariables([])), node, Number(vmid));
      if (!attributes) throw new Error(`Cannot import non-existent remote object ${id}`);
      state.set(name, { tainted: false, attributes });
      say('Import successful! (stand-in)');
      return 0;
    });
  },
  untaint: async (argv) => {
    const { option, words } = parseCommand(argv);
    return withStateLock(option('lock-timeout'), async () => {
      const state = new State();
      const instance = state.instances.get(nameIn(words[0] ?? ''));
      if (!instance) throw new Error(`No such resource instance ${words[0]}`);
      state.set(instance.name, { ...instance, tainted: false });
      return 0;
    });
  },
  state: async (argv) => {
    if (argv[0] !== 'list') throw new Error(`state ${argv[0]} is not known to the stand-in`);
    for (const name of new State().instances.keys()) say(addressIn(name));
    return 0;
  },
  output: async () => {
    const nodes = [...new State().instances.values()].map(
      ({ name, attributes: { vm_id, node_name, initialization } }) => [
        name,
        { vmid: vm_id, node: node_name, address: initialization.address.split('/')[0] },
      ],
    );
    say(JSON.stringify(Object.fromEntries(nodes)));
    return 0;
  },
};

async function makePlan({ given, targets, refresh, destroy }: PlanOptions): Promise<PlanFile> {
  if (!existsSync('.terraform/providers')) throw new Error('Inconsistent dependency lock file: run terraform init');
  const variables = readVariables(given);
  const api = connect(variables);
  const state = new State();
  const names = new Set([...Object.keys(variables.nodes), ...state.instances.keys()]);
  const chosen = [...names].filter((name) => targets.length === 0 || targets.includes(addressIn(name)));
  const gone: string[] = [];
  const changes = await Promise.all(
    chosen.map(async (name): Promise<Change[]> => {
      const known = state.instances.get(name);
      const { node_name = '', vm_id = 0 } = known?.attributes ?? {};
      const before = (known && (refresh ? await readVm(api, node_name, vm_id) : known.attributes)) ?? null;
      if (known && !before) gone.push(name);
      const node = destroy ? undefined : variables.nodes[name];
      const after = node ? wanted(variables.lab, name, node) : null;
      const actions = actionsFor(before, after, known?.tainted ?? false);
      return actions.length > 0 ? [{ name, actions, before, after }] : [];
    }),
  );
  api.close();
  return { variables, changes: changes.flat(), gone };
}

function actionsFor(before: Attributes | null, after: Attributes | null, tainted: boolean): string[] {
  if (!before) return after ? ['create'] : [];
  if (!after) return ['delete'];
  if (tainted || replacing(before, after).length > 0) return ['delete', 'create'];
  return JSON.stringify(before) === JSON.stringify(after) ? [] : ['update'];
}

function replacing(before: Attributes | null, after: Attributes | null): string[][] {
  return NEEDS_NEW_VM.filter((key) => before?.[key] !== after?.[key]).map((key) => [key]);
}

async function applyAll({ variables, changes, gone }: PlanFile, parallelism: number): Promise<number> {
  const api = connect(variables);
  const state = new State();
  for (const name of gone) state.set(name, undefined);
  const waiting = [...changes];
  const failures: string[] = [];
  const worker = async (): Promise<void> => {
    for (let change = waiting.shift(); change; change = waiting.shift()) {
      const { name } = change;
      say(`${addressIn(name)}: ${change.actions.join(', ')}...`);
      await applyOne(api, state, variables, change).catch((error: Error) => failures.push(`${name}: ${error.message}`));
    }
  };
  await Promise.all(Array.from({ length: Math.max(1, parallelism) }, worker));
  api.close();
  if (failures.length > 0) throw new Error(failures.join('\nError: '));
  say(`Apply complete! Resources: ${changes.length} changed. (stand-in)`);
  return 0;
}

/** The state learns of a VM when it is there, and again when it is whole; between it is tainted. */
async function applyOne(
  api: Api,
  state: State,
  variables: Variables,
  { name, actions, before, after }: Change,
): Promise<void> {
  if (actions.includes('delete') && before) {
    await destroyVm(api, before);
    state.set(name, undefined);
  }
  const node = variables.nodes[name];
  if (!after || !node) return;
  if (actions.includes('create')) {
    let made = false;
    try {
      await createVm(api, after, node, () => {
        made = true;
      });
    } catch (error) {
      if (made) state.set(name, { tainted: true, attributes: after });
      throw error;
    }
  } else if (before) await updateVm(api, before, after);
  state.set(name, { tainted: false, attributes: (await readVm(api, after.node_name, after.vm_id)) ?? after });
}

function connect({ endpoint }: Variables): Api {
  const token = process.env.PROXMOX_VE_API_TOKEN;
  if (!token) throw new Error('PROXMOX_VE_API_TOKEN is not set');
  return new Api(`${endpoint.replace(/\/$/, '')}/api2/json`, { authorization: `PVEAPIToken=${token}` });
}

function readPlan(file: string | undefined): PlanFile {
  if (!file || !existsSync(file)) throw new Error(`Failed to load "${file}" as a plan file`);
  return JSON.parse(readFileSync(file, 'utf8')) as PlanFile;
}

function nameIn(address: string): string {
  const name = /\["(.+)"\]$/.exec(address)?.[1];
  if (!name) throw new Error(`Invalid address ${address}`);
  return name;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

await standIn('terraform', async (argv) => {
  const folder = argv[0]?.startsWith('-chdir=') ? argv[0].slice('-chdir='.length) : undefined;
  if (folder) process.chdir(folder);
  const [command = '', ...rest] = folder ? argv.slice(1) : argv;
  const run = commands[command];
  if (run) return run(rest);
  throw new Error(`"${command}" is not known to the stand-in for terraform`);
});
