export type K3sVersion = { major: number; minor: number; patch: number; rc: number; build: number };

/** "v1.36.5+k3s1" (or "v1.36.5-rc1+k3s1") in parts, or undefined when it is none. */
export function parseK3sVersion(text: string): K3sVersion | undefined {
  const match = /^v(\d+)\.(\d+)\.(\d+)(?:-rc(\d+))?\+k3s(\d+)$/.exec(text);
  if (!match) return undefined;
  const [major = 0, minor = 0, patch = 0, , build = 0] = match.slice(1).map(Number);
  // A release comes after all of its candidates.
  return { major, minor, patch, rc: match[4] === undefined ? Number.POSITIVE_INFINITY : Number(match[4]), build };
}

/** Why one must not go from `installed` to `wanted` in one step, and what to do; undefined when one may. */
export function versionObstacle(installed: string, wanted: string): { why: string; fix: string } | undefined {
  const [from, to] = [parseK3sVersion(installed), parseK3sVersion(wanted)];
  if (!from || !to) return { why: `${installed} is not a version of K3s`, fix: 'find out what is installed there' };
  if (isOlder(to, from))
    return {
      why: `${wanted} is older than ${installed}, which is installed; K3s cannot go back`,
      fix: `set k3s.version to ${installed} or newer, or restore a snapshot on rebuilt machines`,
    };
  if (to.major === from.major && to.minor > from.minor + 1)
    return {
      why: `from ${installed} to ${wanted} a minor version would be skipped`,
      fix: `set k3s.version to a v${from.major}.${from.minor + 1} first`,
    };
  return undefined;
}

function isOlder(a: K3sVersion, b: K3sVersion): boolean {
  for (const part of ['major', 'minor', 'patch', 'rc', 'build'] as const)
    if (a[part] !== b[part]) return a[part] < b[part];
  return false;
}
