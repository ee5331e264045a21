import type { Lab } from '../lab-context.ts';
import type { ProvisionSeen } from '../observe/provision.ts';
import type { Note, Step } from '../step.ts';
import { editedNotes, type Generated, isWritten, writeSteps } from './generated.ts';
import type { ProvisionContext } from './provision-terraform.ts';
import { shownPath } from './shown-path.ts';
import { trustSteps } from './trust.ts';

/** Terraform's record of the provider: its version, and the hashes by which this machine knows it. */
export const LOCK_FILE = '.terraform.lock.hcl';

type Folder = Pick<ProvisionSeen, 'terraform' | 'trust'>;
type Names = Pick<ProvisionContext, 'differing' | 'variables'>;

/** Terraform's folder: our files, `init`, the generated variables. The leases are given when all but them is there. */
export function folderSteps(lab: Lab, seen: Folder, context: Names, variables: string): Step[] {
  const { terraform } = seen;
  const writes = writeSteps(lab, terraform.generated, folderFiles(lab, seen, context, variables));
  const removals = terraform.extra
    .filter((file) => isWritten(lab, terraform.generated, file))
    .map(
      ({ path }): Step => ({
        id: `remove ${shownPath(lab, path)}`,
        title: `remove ${shownPath(lab, path)}`,
        why: 'this toolkit wrote it, and has no such file any more',
        action: { kind: 'run', argv: ['rm', '-f', path], deadline: 30 },
      }),
    );
  const before = [...writes, ...removals].map(({ id }) => id).filter((id) => id !== stepOf(context.variables));
  const trust = trustSteps(lab, seen.trust);
  if (terraform.initialised && context.differing.length === 0) return [...trust, ...removals, ...writes];
  const init: Step = {
    id: 'terraform/init',
    title: 'terraform init',
    why: terraform.initialised ? 'its files changed' : 'not initialised',
    after: before,
    action: {
      kind: 'run',
      argv: ['terraform', `-chdir=${terraform.folder}`, 'init', '-input=false', '-no-color'],
      env: { TF_IN_AUTOMATION: '1' },
      deadline: 300,
    },
  };
  return [...trust, ...removals, ...writes, init];
}

/** What is said of the folder: files that a person edited, and files that are not ours and that Terraform reads. */
export function folderNotes(lab: Lab, seen: Folder, context: Names, variables: string): Note[] {
  const { generated, extra } = seen.terraform;
  const foreign = extra.filter((file) => !isWritten(lab, generated, file));
  return [
    ...editedNotes(lab, generated, folderFiles(lab, seen, context, variables), 'it is written anew'),
    ...foreign.map(
      ({ path }): Note => ({
        level: 'warning',
        text: `${shownPath(lab, path)} is not of this toolkit, and Terraform reads it`,
        fix: 'take it out of that folder, unless you know what it changes',
      }),
    ),
  ];
}

/** Whether a name is one that Terraform reads by itself in its working folder. */
export function isRead(name: string): boolean {
  return /(\.tf|\.tf\.json|\.auto\.tfvars|\.auto\.tfvars\.json)$|^terraform\.tfvars(\.json)?$/.test(name);
}

/**
 * Whether our lock file must be copied over that of the working folder. The latter gets hashes from `init`, and keeps
 * them; those that ours was given (`terraform providers lock`) must be among them.
 */
export function lockDiffers(ours: string, theirs: string | undefined): boolean {
  const versions = (text = ''): string => (text.match(/^\s*(provider|version) .*$/gm) ?? []).join('\n');
  const hashes = (text = ''): string[] => text.match(/"(h1|zh):[^"]+"/g) ?? [];
  const known = new Set(hashes(theirs));
  return versions(ours) !== versions(theirs) || hashes(ours).some((hash) => !known.has(hash));
}

function folderFiles(
  lab: Lab,
  { terraform }: Folder,
  { differing, variables: name }: Names,
  content: string,
): Generated[] {
  const { folder, sources, files } = terraform;
  return [
    ...differing.map((file) => ({
      ...{ id: stepOf(file), path: `${folder}/${file}`, content: sources[file] ?? '', now: files[file] },
      grows: file === LOCK_FILE,
    })),
    {
      ...{ id: stepOf(name), path: `${folder}/${name}`, content, now: files[name] },
      after: lab.newLeases.length > 0 ? ['leases'] : [],
    },
  ];
}

const stepOf = (name: string): string => `terraform/${name}`;
