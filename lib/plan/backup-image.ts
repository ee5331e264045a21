import type { BackupCronJob } from '../config/schema.ts';
import { dig, textOf } from '../loose.ts';
import { majorOfImage, postgresImage } from '../render/backup-cronjob.ts';
import type { KubeObject, Note } from '../step.ts';
import type { ClusterSeen } from './backup-install-seen.ts';

/** Its own image's, or the one that it runs with where the server cannot be asked. */
export function imageOf(
  name: string,
  cronjob: BackupCronJob,
  seen: ClusterSeen,
  live?: KubeObject,
): string | undefined {
  const database = seen.databases[name];
  return postgresImage(cronjob, database?.ok ? database.version : undefined) ?? imageIn(live);
}

/** The image of the CronJob's main container. */
export function imageIn(cronJob: KubeObject | undefined): string | undefined {
  return textOf(dig(cronJob, 'spec', 'jobTemplate', 'spec', 'template', 'spec', 'containers', 0, 'image'));
}

/** What is to be said of it. */
export function imageNotes(name: string, image: string | undefined, { databases }: ClusterSeen): Note[] {
  const database = databases[name];
  if (!database?.ok) {
    const text = `PostgreSQL ${name} cannot be reached: ${database?.reason ?? 'it was not asked'}`;
    if (image !== undefined)
      return [{ level: 'warning', text: `${text}; the CronJob keeps ${image}`, fix: database?.fix }];
    return [
      {
        level: 'blocker',
        text: `${text}; its version decides which image dumps it`,
        fix: database?.fix ?? 'start the server, or name the image: backup.cronjob.postgres_image',
      },
    ];
  }
  const major = image === undefined ? undefined : majorOfImage(image);
  if (major === undefined || major === database.major) return [];
  const text = `PostgreSQL ${name} is version ${database.version}; the image ${image} has ${major}`;
  const fix = `set backup.cronjob.postgres_image to postgres:${database.version}-bookworm, or leave it out`;
  if (major > database.major) return [{ level: 'warning', text: `${text}: proofs run in another version`, fix }];
  return [{ level: 'blocker', text: `${text}, and pg_dump must not be older than the server`, fix }];
}
