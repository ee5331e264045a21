import type { Lab } from '../lab-context.ts';

/** A path as a person reads it in a title: from the lab's folder when it is inside. What acts keeps the whole path. */
export function shownPath({ paths }: Pick<Lab, 'paths'>, path: string): string {
  return path.startsWith(`${paths.root}/`) ? path.slice(paths.root.length + 1) : path;
}
