/** A unit's name without ".service". */
export function plain(name: string): string {
  return name.replace(/\.service$/, '');
}

export function lines(all: readonly string[]): string {
  return all.map((line) => `${line}\n`).join('');
}
