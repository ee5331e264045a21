import { distance } from 'fastest-levenshtein';

/** The nearest of `known` to `name`, if it is near enough to be a slip of the fingers. */
function nearest(name: string, known: Iterable<string>): string | undefined {
  let best: { name: string; distance: number } | undefined;
  for (const candidate of known) {
    const d = distance(name.toLowerCase(), candidate.toLowerCase());
    if (!best || d < best.distance) best = { name: candidate, distance: d };
  }
  return best && best.distance <= Math.max(2, Math.floor(name.length / 3)) ? best.name : undefined;
}

/** `did you mean "x"?`, or the list of what there is when nothing is near. */
export function suggestion(name: string, known: Iterable<string>): string {
  const all = [...known];
  const near = nearest(name, all);
  if (near !== undefined) return `did you mean "${near}"?`;
  return all.length > 0 ? `known: ${all.join(', ')}` : 'there are none';
}
