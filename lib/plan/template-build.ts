import type { Lab } from '../lab-context.ts';
import { caFile } from '../lookup.ts';
import type { TemplateSeen, TemplateSources } from '../observe/template.ts';
import { renderAutoinstall } from '../render/autoinstall.ts';
import { renderPkrvars } from '../render/pkrvars.ts';
import type { Note, Step, Value } from '../step.ts';
import { atLeast } from '../version.ts';
import { shownPath } from './shown-path.ts';
import { renderNotes, stampOf, type TemplateStamp, templateInputs } from './template-hash.ts';
import type { TemplateAt } from './template-placement.ts';

const MINUTES = 60;
/** Where build-template keeps Packer's generated files, and the file name of the ISO. */
export type TemplatePaths = { folder: string; variables: string; userData: string; isoName: string };

/** ISO, generated files, and Packer itself, on the build node. */
export function buildSteps(
  lab: Lab,
  seen: TemplateSeen,
  paths: TemplatePaths,
  base: TemplateAt,
  wanted: TemplateStamp,
): Step[] {
  const { config } = lab;
  const { template, proxmox } = config;
  const { iso } = template;
  const host = base.node;
  const steps: Step[] = [];
  if (seen.iso.ok && !seen.iso.value)
    steps.push({
      id: 'iso/download',
      title: `fetch ${paths.isoName} to ${iso.storage} of ${host}`,
      why: 'absent',
      host,
      action: {
        kind: 'pve',
        method: 'POST',
        path: `/nodes/${host}/storage/${iso.storage}/download-url`,
        params: {
          content: 'iso',
          filename: paths.isoName,
          url: iso.url,
          checksum: iso.sha256,
          'checksum-algorithm': 'sha256',
        },
        deadline: 60 * MINUTES,
      },
    });

  const write = (id: string, path: string, content: string): void => {
    const now = seen.generated[path];
    if (now !== content)
      steps.push({
        id,
        title: `write ${shownPath(lab, path)}`,
        why: now === undefined ? 'absent' : 'differs',
        host,
        action: { kind: 'write', path, content, mode: 0o600 },
      });
  };
  const variables = renderPkrvars(config, {
    endpoint: `${seen.api}/api2/json`,
    vmid: base.vmid,
    description: renderNotes(wanted),
    isoFile: `${iso.storage}:iso/${paths.isoName}`,
    storageType: storageOf(seen, host, template.storage)?.type ?? '',
    privateKeyFile: seen.sources.privateKeyFile,
    userDataFile: paths.userData,
    ssh: seen.ssh,
  });
  write('packer/user-data', paths.userData, renderUserData(config, seen.sources));
  write('packer/variables', paths.variables, variables);

  const files = ['packer/user-data', 'packer/variables'];
  const ca = caFile(lab);
  const env: Record<string, Value> = {
    PACKER_CACHE_DIR: `${paths.folder}/cache`,
    PKR_VAR_token_secret: { secret: 'PROXMOX_TOKEN_SECRET' },
    ...(seen.withPassword && {
      PKR_VAR_username: proxmox.token_id.split('!')[0] ?? '',
      PKR_VAR_password: { secret: 'PROXMOX_PASSWORD' },
    }),
    ...(ca && { SSL_CERT_FILE: ca }),
  };
  const packer = (verb: string, argv: string[], after: string[], minutes: number): Step => ({
    id: `packer/${verb}`,
    title: `packer ${verb}`,
    why: `no current template on ${host}`,
    host,
    after,
    action: {
      kind: 'run',
      argv: ['packer', verb, ...argv, seen.sources.hclFolder],
      // Plugins come from the internet, whose certificates the lab's CA does not sign.
      env: verb === 'init' ? {} : env,
      deadline: minutes * MINUTES,
    },
  });
  const withInit = hasInit(seen.packer.version);
  if (withInit) steps.push(packer('init', [], [], 5));
  steps.push(
    packer('validate', [`-var-file=${paths.variables}`], [...files, ...(withInit ? ['packer/init'] : [])], 2),
    packer(
      'build',
      ['-color=false', `-var-file=${paths.variables}`],
      ['packer/validate', 'iso/download', `${host}/remove`],
      90,
    ),
  );
  return steps;
}

/** The stamp of a template made of what lies here now; undefined without a public key. */
export function wantedStamp({ config }: Lab, sources: TemplateSources): TemplateStamp | undefined {
  if (!sources.publicKey) return undefined;
  return stampOf(templateInputs(config, renderUserData(config, sources), sources.hcl));
}

/** What keeps Packer from building. */
export function buildProblems(lab: Lab, seen: TemplateSeen): Note[] {
  const { template } = lab.config;
  const notes = storageProblems(seen, template.build_node, template.storage);
  const blocker = (text: string, fix: string): Note => ({ level: 'blocker', text, fix });
  if (!seen.iso.ok)
    notes.push(
      blocker(
        `${template.iso.storage} of ${template.build_node} cannot be read: ${seen.iso.reason}`,
        'it needs Datastore.Audit and Datastore.AllocateTemplate; npx tsx scripts/check.ts says which role to make',
      ),
    );
  if (seen.packer.problem)
    notes.push(
      blocker(seen.packer.problem, 'install Packer 1.10 or newer: https://developer.hashicorp.com/packer/install'),
    );
  return notes;
}

/** What is wrong with a node's storage for VM disks. */
export function storageProblems(seen: TemplateSeen, node: string, name: string): Note[] {
  const storages = seen.storages[node];
  if (!storages?.ok)
    return [
      {
        level: 'blocker',
        text: `${node} does not answer: ${storages?.reason ?? 'not asked'}`,
        fix: 'is it up, and has the token Sys.Audit on it?',
      },
    ];
  const found = storageOf(seen, node, name);
  if (found?.active && found.content.includes('images')) return [];
  return [
    {
      level: 'blocker',
      text: `storage ${name} ${found ? (found.active ? 'takes no VM disks' : 'is not active') : 'does not exist'} on ${node}`,
      fix: 'correct template.storage in homelab.yaml, or the storage (Datacenter → Storage)',
    },
  ];
}

function storageOf(seen: TemplateSeen, node: string, name: string) {
  const storages = seen.storages[node];
  return storages?.ok ? storages.value.find((storage) => storage.name === name) : undefined;
}

function renderUserData({ template }: Lab['config'], sources: TemplateSources): string {
  const { timezone, user, name } = template;
  return renderAutoinstall(sources.userData, {
    hostname: name.replaceAll('.', '-'),
    timezone,
    user,
    publicKey: sources.publicKey ?? '',
  });
}

/** Plugins came with Packer 1.7; before, the builder is built in. */
export function hasInit(version: string | undefined): boolean {
  return version === undefined || atLeast(version, [1, 7]);
}
