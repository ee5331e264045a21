import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Lab } from '../lib/lab-context.ts';
import { addressOf } from '../lib/lookup.ts';
import type { ProvisionSeen } from '../lib/observe/provision.ts';
import type { TemplateSeen } from '../lib/observe/template.ts';
import { TOOLKIT } from '../lib/paths.ts';
import { planIngress } from '../lib/plan/ingress.ts';
import { planK3s } from '../lib/plan/k3s.ts';
import { planMetallb } from '../lib/plan/metallb.ts';
import { planAllocate } from '../lib/plan/network.ts';
import { planNfs } from '../lib/plan/nfs.ts';
import { planProvision } from '../lib/plan/provision.ts';
import { planTemplate } from '../lib/plan/template.ts';
import { placeTemplates } from '../lib/plan/template-placement.ts';
import { renderTfvars } from '../lib/render/tfvars.ts';
import { inOrder, type Plan } from '../lib/step.ts';
import { labOf, textOf } from './lab.ts';
import { exponent, milliseconds, timed } from './measure.ts';

const USER_DATA = readFileSync(join(TOOLKIT, 'templates', 'autoinstall', 'user-data.yaml'), 'utf8');

/** From the text of homelab.yaml to the plans of the whole chain, for a lab of which nothing exists yet. */
export function plan(): string[] {
  const times: [number, number][] = [];
  const lines = [3, 30, 300].map((count) => {
    const text = textOf(count);
    const read = timed(5, () => labOf(text));
    const lab = labOf(text);
    const steps = chain(lab).reduce((sum, { steps }) => sum + steps.length, 0);
    const all = timed(5, () => chain(labOf(text)).map(inOrder));
    times.push([count, all]);
    return `  ${String(count).padStart(4)} nodes  ${milliseconds(all)}  ${String(steps).padStart(5)} steps   (read and check ${milliseconds(read)})`;
  });
  const [first, , last] = times;
  return [...lines, `  grows with the number to the power of ${exponent(first!, last!).toFixed(2)} (1 is linear)`];
}

function chain(lab: Lab): Plan[] {
  const { config } = lab;
  const down = { ok: false, reason: 'no server answers' } as const;
  const none = { ok: true, value: [] } as const;
  const sources = {
    ...{ publicKey: 'ssh-ed25519 AAAA ops', publicKeyFile: '/k.pub', privateKeyFile: '/k', hclFolder: '/packer' },
    ...{ userData: USER_DATA, growRoot: '', growRootFile: '/g', hcl: { 'ubuntu.pkr.hcl': '' } },
  };
  const storages = Object.fromEntries(
    config.proxmox.nodes.map(({ name }) => {
      const seen = config.proxmox.storages.map((storage) => ({
        ...{ ...storage, type: 'zfspool', active: true, availableBytes: 2 ** 50 },
      }));
      return [name, { ok: true as const, value: seen }];
    }),
  );
  const template: TemplateSeen = {
    ...{
      sources,
      storages,
      api: 'https://10.20.1.0:8006',
      vms: { ok: true, value: [] },
      iso: { ok: true, value: false },
    },
    ...{
      packer: { version: '1.11.0' },
      cds: [],
      generated: {},
      record: { written: {}, kept: {} },
      withPassword: false,
    },
  };
  const placement = placeTemplates(config, false);
  const provision: ProvisionSeen = {
    ...{ sources, placement, storages, vms: { ok: true, value: [] }, mappings: { ok: true, value: {} } },
    granted: { ok: false, reason: 'not asked' },
    nodes: {
      ok: true,
      value: config.proxmox.nodes.map(({ name }) => ({
        name,
        online: true,
        memoryBytes: 2 ** 45,
        freeMemoryBytes: 2 ** 45,
      })),
    },
    terraform: {
      ...{ folder: '/t', version: '1.9.0', initialised: true, sources: {}, files: {}, state: [] },
      ...{ generated: { written: {}, kept: {} }, extra: [] },
    },
    variables: renderTfvars(config, {
      endpoint: template.api,
      addresses: new Map(config.k3s.nodes.map(({ name }) => [name, addressOf(lab, name)])),
      ...{ publicKey: sources.publicKey, placement },
    }),
    changes: {
      ok: true,
      value: config.k3s.nodes.map(({ name }) => ({ name, action: 'create' as const, differences: [] })),
    },
    ...{ silentAgents: [], guests: {}, taken: [] },
  };
  const facts = { units: {}, configPrivate: false, etcdData: false, joined: false };
  const hosts = config.k3s.nodes.map(({ name }) => [name, { reachable: true as const, facts }]);
  return [
    planAllocate(lab, {}),
    planTemplate(lab, template, { folder: '/p', variables: '/p/v', userData: '/p/u', isoName: 'ubuntu.iso' }),
    planProvision(lab, provision, { differing: [], variables: 'v.json', environment: {}, limit: [] }),
    planK3s(lab, { hosts: Object.fromEntries(hosts), cluster: { answers: false, reason: down.reason } }),
    planMetallb(lab, { answers: false, reason: down.reason }),
    planNfs(lab, { nas: {}, hosts: {}, storages: { ...none, value: [] }, cluster: down, applications: [], now: 0 }),
    planIngress(lab, { cluster: down }),
  ];
}
