import { closeSync, existsSync, openSync, readFileSync, renameSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { isAlive } from '../../alive.ts';
import { sleep } from './api.ts';
import { fromProvider, toProvider } from './terraform-shape.ts';
import type { Attributes, NodeVariables } from './terraform-vm.ts';

export const TYPE = 'proxmox_virtual_environment_vm';
export const addressIn = (name: string): string => `${TYPE}.node["${name}"]`;

export type Instance = { name: string; tainted: boolean; attributes: Attributes };
export type Variables = { lab: string; endpoint: string; nodes: Record<string, NodeVariables> };

/** Generated variables, with what `-var` says instead. */
export function readVariables(given: readonly string[]): Variables {
  const file = 'homelab.auto.tfvars.json';
  const variables = (existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {}) as Variables;
  for (const pair of given) {
    const at = pair.indexOf('=');
    const [name, value] = [pair.slice(0, at), pair.slice(at + 1)];
    Object.assign(variables, { [name]: name === 'nodes' ? JSON.parse(value) : value });
  }
  if (!variables.endpoint || !variables.nodes) throw new Error('No value for required variable: endpoint, nodes');
  return variables;
}

/** terraform.tfstate, in Terraform's own format 4, and of each VM in the provider's shape. */
export class State {
  readonly #file = 'terraform.tfstate';
  #serial = 0;
  readonly instances = new Map<string, Instance>();

  constructor() {
    if (!existsSync(this.#file)) return;
    const { serial, resources } = JSON.parse(readFileSync(this.#file, 'utf8')) as {
      serial: number;
      resources: { instances: { index_key: string; status?: string; attributes: unknown }[] }[];
    };
    this.#serial = serial;
    for (const { instances } of resources)
      for (const { index_key: name, status, attributes } of instances)
        this.instances.set(name, { name, tainted: status === 'tainted', attributes: fromProvider(attributes) });
  }

  set(name: string, instance: Omit<Instance, 'name'> | undefined): void {
    if (instance) this.instances.set(name, { name, ...instance });
    else this.instances.delete(name);
    this.#save();
  }

  /** After each change: what was done before a kill is known. */
  #save(): void {
    this.#serial += 1;
    const instances = [...this.instances.values()].map(({ name, tainted, attributes }) => ({
      index_key: name,
      ...(tainted && { status: 'tainted' }),
      schema_version: 0,
      attributes: toProvider(attributes),
    }));
    const state = {
      version: 4,
      terraform_version: '1.9.0',
      serial: this.#serial,
      lineage: 'stand-in',
      outputs: {},
      resources:
        instances.length === 0 ? [] : [{ mode: 'managed', type: TYPE, name: 'node', provider: 'stand-in', instances }],
    };
    writeFileSync(`${this.#file}.new`, JSON.stringify(state, null, 2), { mode: 0o600 });
    renameSync(`${this.#file}.new`, this.#file);
  }
}

/** Runs `work` as the state's only writer. A lock whose process has ended is none. */
export async function withStateLock<T>(timeout: string | undefined, work: () => Promise<T>): Promise<T> {
  const file = '.terraform.tfstate.lock.pid';
  const end = Date.now() + Number.parseInt(timeout ?? '0', 10) * 1000;
  while (!take(file)) {
    if (Date.now() > end) throw new Error('Error acquiring the state lock');
    await sleep(200);
  }
  try {
    return await work();
  } finally {
    rmSync(file, { force: true });
  }
}

function take(file: string): boolean {
  try {
    const fd = openSync(file, 'wx', 0o600);
    writeSync(fd, String(process.pid));
    closeSync(fd);
    return true;
  } catch {
    const pid = existsSync(file) ? Number(readFileSync(file, 'utf8')) : 0;
    if (!pid || isAlive(pid)) return false;
    rmSync(file, { force: true });
    return false;
  }
}
