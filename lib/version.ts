/** Whether a dotted version ("1.11.4", "v1.36.5+k3s1", "15.18-beta") is at least `needed`; a missing part counts as 0. */
export function atLeast(version: string, needed: readonly number[]): boolean {
  const parts = version.replace(/^v/, '').split(/[.+-]/).map(Number);
  const differs = needed.findIndex((part, i) => (parts[i] ?? 0) !== part);
  return differs < 0 || (parts[differs] ?? 0) > needed[differs]!;
}
