import type { Lab } from '../lab-context.ts';
import { goTrust } from '../lookup.ts';
import type { TemplateSeen, TemplateSources } from '../observe/template.ts';
import type { Step, Value } from '../step.ts';
import { atLeast } from '../version.ts';
import { writeSteps } from './generated.ts';
import { packerFiles, renderUserData, type TemplatePaths } from './template-files.ts';
import { parseNotes, staleness, stampOf, type TemplateStamp, templateInputs } from './template-hash.ts';
import type { PlacedTemplate } from './template-placement.ts';
import { trustSteps } from './trust.ts';

const MINUTES = 60;

/**
 * ISO, generated files, and Packer itself, on the build node.
 * @param after ids of steps that make room
 */
export function buildSteps(
  lab: Lab,
  seen: TemplateSeen,
  paths: TemplatePaths,
  base: PlacedTemplate,
  wanted: TemplateStamp,
  after: string[],
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
      // Where Packer lacks its plugin nothing could come of it.
      after: ['packer/validate'],
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

  steps.push(...writeSteps(lab, seen.record, packerFiles(lab, seen, paths, base, wanted)));
  const trust = trustSteps(lab, seen.trust);
  steps.push(...trust);
  const files = ['packer/user-data', 'packer/variables', ...trust.map(({ id }) => id)];
  const env: Record<string, Value> = {
    PACKER_CACHE_DIR: `${paths.folder}/cache`,
    PKR_VAR_token_secret: { secret: 'PROXMOX_TOKEN_SECRET' },
    ...(seen.withPassword && {
      PKR_VAR_username: proxmox.token_id.split('!')[0] ?? '',
      PKR_VAR_password: { secret: 'PROXMOX_PASSWORD' },
    }),
    ...goTrust(lab),
  };
  const packer = (verb: string, argv: string[], after: string[], minutes: number): Step => ({
    id: `packer/${verb}`,
    title: `packer ${verb}`,
    why: reasonFor(base, wanted),
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
      ['packer/validate', 'iso/download', ...after],
      90,
    ),
  );
  return steps;
}

/** Why a node needs a template: "no template on pve-02", "stale: iso changed". */
export function reasonFor({ node, old }: PlacedTemplate, wanted: TemplateStamp): string {
  const stamp = old && parseNotes(old.description);
  return stamp ? staleness(stamp, wanted) : `no template on ${node}`;
}

/** The stamp of a template made of what lies here now; undefined without a public key. */
export function wantedStamp({ config }: Lab, sources: TemplateSources): TemplateStamp | undefined {
  if (!sources.publicKey) return undefined;
  const inputs = templateInputs(config, renderUserData(config, sources), sources.growRoot, sources.hcl);
  return stampOf(inputs, config.name);
}

/** Plugins came with Packer 1.7; before, the builder is built in. */
export function hasInit(version: string | undefined): boolean {
  return version === undefined || atLeast(version, [1, 7]);
}
