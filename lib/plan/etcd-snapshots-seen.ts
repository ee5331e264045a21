import type { Answer } from '../ports/types.ts';

/** What is known of snapshots of etcd: plain data, made by lib/observe/etcd-snapshots.ts. */
export type SnapshotsSeen = {
  /** Seconds since 1970. */
  now: number;
  /** Every server of homelab.yaml. */
  servers: Record<string, Answer<ServerSnapshots>>;
  /** What lies on the NAS; left out where homelab.yaml names none. */
  nas?: Answer<NasSnapshot[]>;
};

export type ServerSnapshots = {
  /** SHA-256 of the script that is installed. */
  script?: string;
  /** The cron file's text. */
  cron?: string;
  /** What the script said of its last run. */
  lastRun?: { time: number; code: number; snapshot: string; said: string };
  nfsClient: boolean;
  /** Without cron its files are only files. */
  cronRuns: boolean;
  /** State of the unit k3s; undefined where there is none. */
  unit?: string;
  local: Snapshot[];
};

export type Snapshot = { name: string; bytes: number; time: number };

/** `whole`: its SHA-256 and its token lie beside it. */
export type NasSnapshot = Snapshot & { server: string; whole: boolean };

/** When a snapshot was taken: K3s ends its name with the seconds since 1970. */
export function timeInName(name: string): number | undefined {
  const [, seconds] = /-(\d{9,11})(\.zip)?$/.exec(name) ?? [];
  return seconds === undefined ? undefined : Number(seconds);
}

/** Seconds by which a server's clock may be ahead of ours. */
const AHEAD = 3600;

/** Whether a snapshot says that it is of later than now: the clock of its server was wrong, or is. */
export function isOfLater({ time }: Snapshot, now: number): boolean {
  return time > now + AHEAD;
}

/** The newest whole one on the NAS of a server; one that is dated in the future where there is no other. */
export function newestOf(snapshots: readonly NasSnapshot[], server: string, now: number): NasSnapshot | undefined {
  return snapshots
    .filter((one) => one.whole && one.server === server)
    .sort((a, b) => Number(isOfLater(a, now)) - Number(isOfLater(b, now)) || b.time - a.time)[0];
}

/** "5 min", "7 h", "12 days": what a person wants to know. */
export function age(seconds: number): string {
  if (seconds < 3600) return `${Math.max(0, Math.floor(seconds / 60))} min`;
  return seconds < 48 * 3600 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} days`;
}
