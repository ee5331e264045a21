import { basename, resolve } from 'node:path/posix';
import type { Lab } from '../lab-context.ts';
import type { Note, Step } from '../step.ts';
import { factsOf } from './k3s-join.ts';
import type { SeenK3s } from './k3s-seen.ts';

const IMAGES = '/var/lib/rancher/k3s/agent/images';
export const BINARY = '/usr/local/bin/k3s';

type What = 'binary' | 'images' | 'script';
/** A file of this machine that takes the place of a download. */
export type LocalFile = { what: What /** As homelab.yaml says it. */; named: string; path: string };
/** One that nodes get. */
export type AirgapFile = LocalFile & { remote: string };

/** The files of k3s.airgap, by their absolute paths. */
export function localFiles({ config, paths }: Pick<Lab, 'config' | 'paths'>): LocalFile[] {
  const { binary, images, script } = config.k3s.airgap ?? {};
  const named: [What, string | undefined][] = [
    ['binary', binary],
    ['images', images],
    ['script', script],
  ];
  return named.flatMap(([what, name]) => (name ? [{ what, named: name, path: resolve(paths.root, name) }] : []));
}

/** What of them goes to the nodes as it is; the script has its own way, with or without an air gap. */
export function airgapFiles(lab: Pick<Lab, 'config' | 'paths'>): AirgapFile[] {
  const remote = { binary: BINARY, images: `${IMAGES}/` };
  return localFiles(lab).flatMap((file) => {
    if (file.what === 'script') return [];
    return [{ ...file, remote: file.what === 'images' ? `${remote.images}${basename(file.named)}` : remote.binary }];
  });
}

/** Under what name homelab.lock.yaml has the hash of a local file: each version has its own. */
export function lockKey(lab: Pick<Lab, 'config'>, what: What): string {
  return `k3s/${lab.config.k3s.version}/${what}`;
}

/** Why an air-gapped node lacks one of the files; undefined: it has it. */
export function fileReason(lab: Lab, seen: SeenK3s, node: string, what: What): string | undefined {
  const file = airgapFiles(lab).find((one) => one.what === what);
  if (!file) return undefined;
  const there = factsOf(seen, node).files?.[file.remote];
  if (!there) return 'absent';
  return there.sha256 === seen.airgap?.[file.path] ? undefined : 'it is another file';
}

/** Whether the hash of every file that a node has was noted there, so that it need not be read at each look. */
export function isNoted(lab: Lab, seen: SeenK3s, node: string): boolean {
  const { files = {} } = factsOf(seen, node);
  return airgapFiles(lab).every(({ remote }) => files[remote]?.noted);
}

/** Local files that are missing, and those that are others than the ones that were used for this version. */
export function airgapNotes(lab: Lab, seen: SeenK3s): Note[] {
  return localFiles(lab).flatMap(({ what, named, path }): Note[] => {
    const sha256 = seen.airgap?.[path];
    const recorded = lab.lock.downloads[lockKey(lab, what)];
    if (!sha256)
      return [
        {
          level: 'blocker',
          text: `${named} is not there (k3s.airgap.${what})`,
          fix: `put the ${what} of ${lab.config.k3s.version} there`,
        },
      ];
    if (!recorded || recorded === sha256) return [];
    return [
      {
        level: 'blocker',
        text: `${named} has the SHA-256 ${sha256}; for ${lab.config.k3s.version} homelab.lock.yaml has ${recorded}`,
        fix: `put the right file there; if the recorded one was wrong, take "${lockKey(lab, what)}" out of homelab.lock.yaml`,
      },
    ];
  });
}

/** Records the hashes of local files that were never used before. */
export function pinStep(lab: Lab, seen: SeenK3s): Step[] {
  const unknown = localFiles(lab).filter(({ what }) => !lab.lock.downloads[lockKey(lab, what)]);
  const hashes = Object.fromEntries(unknown.map(({ what, path }) => [lockKey(lab, what), seen.airgap?.[path] ?? '']));
  if (unknown.length === 0) return [];
  return [
    {
      id: 'pin-files',
      title: `note the hashes of ${unknown.map(({ named }) => named).join(', ')} in homelab.lock.yaml`,
      why: `they are used for ${lab.config.k3s.version} for the first time`,
      action: { kind: 'operation', name: 'pin-files', args: { hashes }, deadline: 30 },
    },
  ];
}
