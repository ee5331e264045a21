import type { Drift } from './drift.ts';
import { SOURCES, type Source, shown } from './drift-values.ts';

/** One line: "k3s-cp-01: memory: Proxmox disagrees: 32 GiB; homelab.yaml and state say 64 GiB". */
export function driftText(drift: Drift): string {
  const { vm, attribute, cause } = drift;
  const says = attribute === 'existence' || attribute === 'lease' ? phrases(drift) : `${attribute}: ${verdict(drift)}`;
  return `${vm}: ${says}${cause ? ` (${cause})` : ''}`;
}

/** The values are phrases with a verb: "Proxmox does not have it; homelab.yaml wants it, state knows VM 200". */
function phrases({ values, odd }: Drift): string {
  const said = SOURCES.filter((source) => values[source] !== undefined);
  const tell = (sources: readonly Source[]): string =>
    sources.map((source) => `${source} ${values[source]}`).join(', ');
  return [said.filter((source) => odd.includes(source)), said.filter((source) => !odd.includes(source))]
    .map(tell)
    .filter(Boolean)
    .join('; ');
}

function verdict({ attribute, values, odd }: Drift): string {
  const said = SOURCES.filter((source) => values[source] !== undefined);
  const value = (source: Source | undefined): string => shown(attribute, (source && values[source]) ?? '');
  const right = said.filter((source) => !odd.includes(source));
  const others = `${listed(right)} ${right.length === 1 ? 'says' : 'say'} ${value(right[0])}`;
  if (odd.length === 1 && odd[0] === 'homelab.yaml')
    return `homelab.yaml differs from all others: ${value(odd[0])}; ${others}: changed and not applied`;
  const groups = [...new Set(odd.map((source) => values[source]))].map((text) =>
    odd.filter((source) => values[source] === text),
  );
  const against = groups.map(
    (group) => `${listed(group)} ${group.length === 1 ? 'disagrees' : 'disagree'}: ${value(group[0])}`,
  );
  return `${against.join(', ')}; ${others}`;
}

function listed(sources: readonly Source[]): string {
  if (sources.length < 2) return sources.join('');
  return `${sources.slice(0, -1).join(', ')} and ${sources.at(-1)}`;
}
