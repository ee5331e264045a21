import type { Spec } from './params.ts';
import type { Call } from './router.ts';

/** What a change of a configuration asks for. */

export const UPDATE: Spec = {
  delete: 'string',
  revert: 'string',
  digest: 'string',
  force: 'boolean',
  skiplock: 'boolean',
  background_delay: 'integer',
  'import-working-storage': 'storage-id',
};

/** Names in the configuration that are no options: they come from the call around them. */
const NOT_OPTIONS = new Set([...Object.keys(UPDATE), 'vmid', 'node', 'pool', 'storage', 'start', 'unique', 'bwlimit']);

/** Options that are set, by name. */
export function optionsOf({ params }: Call): Map<string, string> {
  const options = new Map([...params.values].filter(([name]) => !NOT_OPTIONS.has(name)));
  const cdrom = options.get('cdrom');
  options.delete('cdrom');
  if (cdrom !== undefined) options.set('ide2', cdrom.includes('media=') ? cdrom : `${cdrom},media=cdrom`);
  return options;
}

/** Options that are removed. */
export function namesToDelete({ params }: Call): string[] {
  return (params.text('delete') ?? '').split(/[\s,;]+/).filter(Boolean);
}
