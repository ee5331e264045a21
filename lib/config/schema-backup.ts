import { z } from 'zod';
import { absolutePath, domain, exportRef, folder, label, schedule } from './schema-values.ts';

const program = z.array(z.string().regex(/^[^\0]+$/, 'must not be empty')).min(1);

/** Read by itself where the rest of homelab.yaml is wrong: that, too, must be told. */
export const notifySchema = z.strictObject({
  start: program.optional().describe('a program that is run when a run starts; its words, no shell; JSON on its stdin'),
  success: program.optional().describe('the same, when a run ended well'),
  failure: program.optional().describe('the same, when a run ended in any other way'),
  timeout_seconds: z.int().min(1).max(30).default(20).describe('of each program'),
  healthcheck: z
    .boolean()
    .default(false)
    .describe('ping BACKUP_HEALTHCHECK_URL of .env: a check of healthchecks.io, or a push monitor of Uptime Kuma'),
  metrics_file: absolutePath
    .regex(/\/[^/]+\.prom$/, 'must end in NAME.prom')
    .optional()
    .describe("for node_exporter's textfile collector"),
});
/** What a recipient must be is in rules/backup-targets.ts, whose messages never repeat a secret key. */
const encryptTo = z.array(z.string()).min(1).optional().describe('age recipients; what lies there only they can read');
/** Bare names are Docker Hub's, as everywhere. Without a tag or a digest it would be another image every month. */
const image = z
  .string()
  .regex(
    /^[a-z0-9][a-z0-9._:/-]*(:[A-Za-z0-9_][A-Za-z0-9._-]{0,127}(@sha256:[0-9a-f]{64})?|@sha256:[0-9a-f]{64})$/,
    'must be an image with its tag or digest, such as node:20.20.2-bookworm-slim',
  )
  .refine((name) => !/:latest(@|$)/.test(name), 'must not be "latest"; pin a version')
  .refine((name) => !/alpine/.test(name), 'is for musl; take one of Debian (…-bookworm), of which the others are');
const quantity = z.string().regex(/^[1-9]\d*(\.\d+)?(m|Ki|Mi|Gi|Ti)?$/, 'must be a quantity, such as 250m or 1Gi');

/** Only what an owner may want else; how it runs is in lib/render/backup-cronjob.ts. */
const cronjob = z.strictObject({
  namespace: label.default('homelab-backup'),
  node_image: image.default('node:20.20.2-bookworm-slim').describe('where the pod gets Node from'),
  postgres_image: image.optional().describe('default: postgres:VERSION-bookworm, of the version that the server says'),
  run_as: z
    .int()
    .min(1, 'must not be root')
    .max(65_533)
    .default(999)
    .describe('user and group that write on the NAS, where it does not map all to one'),
  cpu: quantity.default('250m').describe('request; there is no limit'),
  memory: quantity.default('1Gi').describe('limit; a quarter of a GiB is requested'),
  scratch: quantity.default('10Gi').describe('room on the node for one restored copy of the largest set'),
  deadline_hours: z.int().min(1).max(72).default(6).describe('of one run'),
});
const databaseName = z.string().min(1).max(63);
const lockWait = z.int().min(1).max(86_400).describe('a table that is locked for longer fails the dump; default 300');

/** `backup` of homelab.yaml; what its keys must be to others is in rules/backup-targets.ts and rules/storage.ts. */
export const backupSchema = z.strictObject({
  target: z.strictObject({
    export: exportRef,
    path: folder,
    require_nfs: z.boolean().default(true).describe('refuse a target that is not an NFS mount'),
    encrypt_to: encryptTo,
  }),
  second_target: z
    .strictObject({
      export: exportRef.optional(),
      folder: absolutePath.optional().describe('instead of export: the mount point of a disk of this machine'),
      path: folder.default('postgresql'),
      require_nfs: z.boolean().default(true).describe('refuse an export that is not an NFS mount'),
      encrypt_to: encryptTo,
      max_age_hours: z.int().min(1).optional().describe('default: that of backup'),
    })
    .optional()
    .describe('every proven set is copied there, and proven there once more'),
  schedule,
  cronjob: cronjob.optional().describe('runs inside the cluster, by `backup-postgres install`; none: cron'),
  max_age_hours: z.int().min(1).default(26),
  keep: z
    .strictObject({
      last: z.int().min(1, 'must be at least 1').default(3),
      daily: z.int().min(0).default(7),
      weekly: z.int().min(0).default(5),
      monthly: z.int().min(0).default(12),
    })
    .prefault({}),
  notify: notifySchema.optional().describe('who hears how a run of backup-postgres went'),
  postgresql: z
    .array(
      z.strictObject({
        name: label,
        host: z
          .union([label, domain, z.ipv4()])
          .optional()
          .describe('reached directly, by TCP, instead of namespace and service; a name of homelab.yaml, or of DNS'),
        namespace: label.optional(),
        service: label.optional(),
        port: z.int().min(1).max(65535).default(5432),
        user: z.string().min(1).max(63),
        include: z.array(databaseName).min(1).optional().describe('only these databases, by their exact names'),
        exclude: z.array(databaseName).default([]).describe('all databases but these, by their exact names'),
        databases: z
          .record(
            databaseName,
            z.strictObject({
              jobs: z.int().min(1).max(64).optional().describe('tables dumped side by side; more than 1: a folder'),
              lock_wait_seconds: lockWait.optional(),
            }),
          )
          .default({})
          .describe('what differs for single databases'),
      }),
    )
    .min(1),
  deadlines: z
    .strictObject({
      run_seconds: z
        .int()
        .min(1)
        .default(12 * 3600)
        .describe('for all of a run'),
      program_seconds: z
        .int()
        .min(1)
        .default(4 * 3600)
        .describe('for one pg_dump or pg_restore'),
      nas_seconds: z.int().min(1).default(60).describe('for one call to the NAS'),
    })
    .prefault({}),
});
