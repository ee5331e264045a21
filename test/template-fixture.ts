import type { Lab } from '../lib/lab-context.ts';
import type { TemplateSeen } from '../lib/observe/template.ts';
import type { VmSeen } from '../lib/observe/vms.ts';
import type { TemplatePaths } from '../lib/plan/template-files.ts';
import { sources, storagesOf } from './provision-fixture.ts';

export const templatePaths: TemplatePaths = {
  folder: '/lab/.state/homelab/packer',
  variables: '/lab/.state/homelab/packer/template.pkrvars.json',
  userData: '/lab/.state/homelab/packer/user-data',
  isoName: 'ubuntu.iso',
};

/** What build-template sees where everything is in order and nothing is there but these VMs. */
export function templateSeen(lab: Lab, vms: VmSeen[], change: Partial<TemplateSeen> = {}): TemplateSeen {
  return {
    sources,
    api: 'https://10.20.11.11:8006',
    vms: { ok: true, value: vms },
    storages: storagesOf(lab),
    iso: { ok: true, value: false },
    cds: [],
    packer: { version: '1.14.0' },
    cdProgram: 'xorriso',
    generated: {},
    record: { written: {}, kept: {} },
    withPassword: false,
    ...change,
  };
}
