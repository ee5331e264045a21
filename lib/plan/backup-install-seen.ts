import type { SeenDatabase } from '../observe/backup.ts';
import type { KubeObject } from '../step.ts';

/** What `backup-postgres install` sees of its two homes. */
export type InstallSeen = CronSeen | ClusterSeen;

export type CronSeen = {
  home: 'cron';
  /** This user's crontab as it is; '' when there is none. */
  crontab: { ok: true; text: string } | { ok: false; reason: string; fix?: string };
};

export type ClusterSeen = {
  home: 'cluster';
  now: number;
  /** The engine's script. */
  bundle: string;
  /** False in a rehearsal, whose exports are folders. */
  requireNfs: boolean;
  /** The ids of targets that this machine remembers, by the file that does. */
  targets: Record<string, string>;
  /** What the servers say, by name. */
  databases: Record<string, SeenDatabase>;
  cluster: { ok: true; value: BackupObjects } | { ok: false; reason: string };
};

export type BackupObjects = {
  namespace?: KubeObject;
  /** Ours, by their label: CronJobs, a proof's Job that was left, volumes, claims, ConfigMaps. */
  objects: KubeObject[];
  /** Whether the Secret in the cluster holds the passwords of .env; never the passwords themselves. */
  passwords: 'absent' | 'differ' | 'same';
};
