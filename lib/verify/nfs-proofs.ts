import type { Nas, NasExport } from '../config/schema.ts';
import { SETTINGS } from '../plan/nfs-exports.ts';
import type { Judgement, Trouble } from '../render/nfs-judge.ts';
import type { Proof } from '../step.ts';

/** A host that tried an export, and what came of it. */
export type Attempt = Judgement & { host: string; allowed: boolean };
export type Tried = { export: NasExport; attempts: Attempt[]; untried: string[] };

/** Whether something is wrong that is set at the NAS, by hand where no script can. */
export function isSetWrong(tried: readonly Tried[]): boolean {
  const OF_ITS_SETTINGS: (Trouble | undefined)[] = ['missing', 'denied', 'open', 'readonly'];
  return tried.some(({ attempts }) => attempts.some(({ ok, trouble }) => !ok && OF_ITS_SETTINGS.includes(trouble)));
}

/** Whether anybody who may use an export can. */
export function isUsable({ attempts }: Tried): boolean {
  return attempts.some(({ allowed, ok }) => allowed && ok);
}

/** A claim for each host and export; what is true of the whole NAS, or of an export, is said once. */
export function proofsOfNas(nas: Nas, tried: readonly Tried[]): Proof[] {
  const all = tried.flatMap(({ attempts }) => attempts);
  const skipped = tried.flatMap((each) => untriedProofs(nas, each));
  if (all.length > 0 && all.every(({ trouble }) => trouble === 'silent')) {
    const hosts = [...new Set(all.map(({ host }) => host))];
    const detail = `it does not answer any of ${hosts.join(', ')}: ${all[0]?.detail}; is it on?`;
    return [{ claim: `${nas.name} (${nas.address}) answers`, ok: false, detail }, ...skipped];
  }
  return [...tried.flatMap((each) => exportProofs(nas, each)), ...skipped];
}

/** Where all who may mount it meet the same trouble, what the others meet says nothing. */
const OF_THE_EXPORT: Trouble[] = ['missing', 'stale'];

function exportProofs(nas: Nas, { export: { path }, attempts }: Tried): Proof[] {
  const [first, ...others] = attempts.filter(({ allowed }) => allowed);
  const { trouble } = first ?? {};
  if (first && trouble && OF_THE_EXPORT.includes(trouble) && others.every((each) => each.trouble === trouble))
    return [
      {
        claim: `${nas.name} has the export ${path}`,
        ok: false,
        detail: `${first.detail}; so say ${[first, ...others].map(({ host }) => host).join(', ')}; ${fixOf(nas, trouble)}`,
      },
    ];
  return attempts.map(({ host, allowed, ok, detail, trouble: own }) => ({
    claim: `${host} ${allowed ? 'can use' : 'cannot mount'} ${nas.name}:${path}`,
    host,
    ok,
    detail: own && !ok && own !== 'silent' ? `${detail}; ${fixOf(nas, own)}` : detail,
  }));
}

function fixOf({ name, kind }: Nas, trouble: Trouble): string {
  if (trouble === 'stale') return `to fix: \`exportfs -ra\`, or restart NFS, on ${name}, and run this again`;
  if (trouble === 'unmounted') return 'to fix: see `dmesg` there';
  if (kind === 'linux') return `to fix: see /etc/exports and /etc/exports.d on ${name}`;
  return `to fix: ${SETTINGS} prints what to enter`;
}

function untriedProofs(nas: Nas, { export: { path }, attempts, untried }: Tried): Proof[] {
  if (untried.length === 0) return [];
  const claim =
    attempts.length === 0 ? `${nas.name}:${path} can be used` : `${untried.join(', ')} can use ${nas.name}:${path}`;
  const detail =
    attempts.length === 0
      ? `not tried: only ${untried.join(', ')} may, which is no node of K3s or Proxmox`
      : 'not tried: no node of K3s or Proxmox';
  return [{ claim, ok: false, skipped: true, detail }];
}
