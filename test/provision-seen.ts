import { addressOf } from '../lib/lookup.ts';
import type { GuestSeen } from '../lib/observe/guests.ts';
import type { ProvisionSeen } from '../lib/observe/provision.ts';
import type { ProvisionContext } from '../lib/plan/provision-terraform.ts';
import { wantedStamp } from '../lib/plan/template-build.ts';
import { renderNotes } from '../lib/plan/template-hash.ts';
import { placeTemplates } from '../lib/plan/template-placement.ts';
import { marker, renderTfvars } from '../lib/render/tfvars.ts';
import { GIB, labOf, sources, storagesOf, vm } from './provision-fixture.ts';

/** What provision sees of the committed homelab.yaml: with its templates only (`fresh`), and when all is as wanted (`done`). */
export const lab = labOf({ leased: true });
export const wanted = wantedStamp(lab, sources)!;
const notes = renderNotes(wanted);
export const templates = placeTemplates(lab.config, false).all.map(({ vmid, node }) =>
  vm({ vmid, node, template: true, name: 'ubuntu-24.04', description: notes }),
);
export const placement = placeTemplates(lab.config, false, templates, wanted);
export const addresses = new Map(lab.config.k3s.nodes.map(({ name }) => [name, addressOf(lab, name)]));
export const variables = renderTfvars(lab.config, {
  endpoint: 'https://10.20.11.11:8006/',
  addresses,
  publicKey: sources.publicKey!,
  placement,
});
export const tf = { 'main.tf': 'm' };
export const guest: GuestSeen = {
  running: true,
  agent: { ok: true, value: [] },
  ssh: { ok: true, value: true },
  cloudInit: 'done',
  rootBytes: 95 * GIB,
};
export const guests = Object.fromEntries(
  lab.config.k3s.nodes.map(({ name }) => [
    name,
    { ...guest, agent: { ok: true as const, value: [addressOf(lab, name)] } },
  ]),
);
export const managed = lab.config.k3s.nodes.map(({ name, vmid, node }) => ({ name, vmid, node, tainted: false }));
export const own = lab.config.k3s.nodes.map(({ name, vmid, node }) =>
  vm({ vmid, node, name, running: true, description: marker('homelab', name) }),
);

export const settings: ProvisionContext = { differing: [], variables: 'homelab.auto.tfvars.json', environment: {} };
export const fresh: ProvisionSeen = {
  ...{ sources, placement, wanted, variables, storages: storagesOf(lab) },
  vms: { ok: true, value: templates },
  granted: { ok: false, reason: 'not asked' },
  nodes: {
    ok: true,
    value: lab.config.proxmox.nodes.map(({ name }) => ({
      name,
      online: true,
      memoryBytes: 128 * GIB,
      freeMemoryBytes: 100 * GIB,
    })),
  },
  mappings: { ok: true, value: { rtx4000ada: ['pve-01'] } },
  terraform: {
    ...{ version: '1.11.4', folder: '/state/terraform', initialised: false, sources: tf, files: {}, state: [] },
    ...{ generated: { written: {}, kept: {} }, extra: [] },
  },
  silentAgents: [],
  guests: {},
  taken: [],
};
export const done: ProvisionSeen = {
  ...fresh,
  vms: { ok: true, value: [...templates, ...own] },
  terraform: {
    ...fresh.terraform,
    initialised: true,
    state: managed,
    files: { ...tf, 'homelab.auto.tfvars.json': variables },
  },
  changes: { ok: true, value: [] },
  guests,
};
