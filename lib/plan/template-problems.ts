import type { Lab } from '../lab-context.ts';
import type { TemplateSeen } from '../observe/template.ts';
import type { Note } from '../step.ts';
import { hasInit } from './template-build.ts';
import { trustProblems } from './trust.ts';

/** Programs by one of which Packer makes a CD. */
export const CD_PROGRAMS = ['xorriso', 'mkisofs', 'hdiutil', 'oscdimg'] as const;

const blocker = (text: string, fix?: string): Note => ({ level: 'blocker', text, fix });

/** What keeps Packer from building. */
export function buildProblems(lab: Lab, seen: TemplateSeen): Note[] {
  const { template } = lab.config;
  const { iso, build_node: node } = template;
  const notes = [...storageProblems(seen, node, template.storage), ...trustProblems(seen.trust)];
  if (seen.storages[node]?.ok) {
    const wrong = contentProblem(seen, node, iso.storage, 'iso');
    if (wrong) notes.push(wrong);
    else if (!seen.iso.ok)
      notes.push(
        blocker(
          `${iso.storage} of ${node} cannot be read: ${seen.iso.reason}`,
          'it needs Datastore.Audit and Datastore.AllocateTemplate; npx tsx scripts/check.ts says which role to make',
        ),
      );
  }
  if (seen.packer.problem) notes.push(blocker(seen.packer.problem, seen.packer.fix));
  else if (hasInit(seen.packer.version) && !seen.cdProgram)
    notes.push(
      blocker(
        `none of ${CD_PROGRAMS.join(', ')} is installed; by one of them Packer makes the CD with the answers to the installer`,
        'install xorriso (Debian, Ubuntu: sudo apt-get install xorriso); macOS has hdiutil',
      ),
    );
  return notes;
}

/** What is wrong with a node's storage for VM disks. */
export function storageProblems(seen: TemplateSeen, node: string, name: string): Note[] {
  const storages = seen.storages[node];
  if (!storages?.ok)
    return [
      {
        ...blocker(
          `${node} does not answer: ${storages?.reason ?? 'not asked'}`,
          'is it up, and has the token Sys.Audit on it?',
        ),
        host: node,
      },
    ];
  const wrong = contentProblem(seen, node, name, 'images');
  return wrong ? [wrong] : [];
}

const CONTENT = {
  images: { what: 'VM disks', key: 'template.storage', shown: 'Disk image' },
  iso: { what: 'ISO images', key: 'template.iso.storage', shown: 'ISO image' },
};

function contentProblem(seen: TemplateSeen, node: string, name: string, content: 'images' | 'iso'): Note | undefined {
  const { what, key, shown } = CONTENT[content];
  const storages = seen.storages[node];
  const found = storages?.ok ? storages.value.find((storage) => storage.name === name) : undefined;
  if (!found)
    return blocker(
      `storage ${name} does not exist on ${node}`,
      `correct ${key} in homelab.yaml, or let ${node} have it (Datacenter → Storage → ${name} → Nodes)`,
    );
  if (!found.active)
    return blocker(`storage ${name} is not active on ${node}`, `${node} says why: pvesm status --storage ${name}`);
  if (found.content.includes(content)) return undefined;
  return blocker(
    `storage ${name} takes no ${what} on ${node}`,
    `correct ${key} in homelab.yaml, or add "${shown}" to its content (Datacenter → Storage → ${name})`,
  );
}
