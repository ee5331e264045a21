import { join } from 'node:path';
import type { Lab } from '../lab-context.ts';
import type { Placed } from '../plan/convention-problem.ts';
import type { FilesReader, Readers } from '../ports/types.ts';
import { objectsOf } from '../render/manifests.ts';

export type ApplicationFile = {
  path: string;
  /** The path as a person names it: "applications/my-app/ingress.yaml". */
  place: string;
  text: string;
  objects: Placed['object'][];
  problem?: string;
};

/** How deep applications/ is read: an application's folder, and overlays in it. */
const DEPTH = 4;

/** Every YAML file under applications/, with the objects that it holds. */
export async function readApplications(folder: string, files: FilesReader): Promise<ApplicationFile[]> {
  const found: ApplicationFile[] = [];
  const walk = async (at: string, place: string, depth: number): Promise<void> => {
    for (const name of await files.list(at)) {
      if (name.startsWith('.')) continue;
      if (/\.ya?ml$/.test(name)) {
        const text = (await files.text(join(at, name))) ?? '';
        found.push({ path: join(at, name), place: `${place}/${name}`, text, ...objectsOf(text) });
      } else if (depth > 1) await walk(join(at, name), `${place}/${name}`, depth - 1);
    }
  };
  await walk(folder, 'applications', DEPTH);
  return found;
}

/** The manifests of applications/, for the linter, and the files that could not be read. */
export async function observeApplications(
  { paths }: Pick<Lab, 'paths'>,
  { files }: Pick<Readers, 'files'>,
): Promise<{ placed: Placed[]; unreadable: { place: string; problem: string }[] }> {
  const found = await readApplications(paths.applications, files);
  return {
    placed: found.flatMap(({ place, objects }) => objects.map((object) => ({ place, object }))),
    unreadable: found.flatMap(({ place, problem }) => (problem ? [{ place, problem }] : [])),
  };
}
