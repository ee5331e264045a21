import { z } from 'zod';
import { dnsLabel, head, loose, port, quantity, texts, withSpec } from './forms.ts';

const resources = z.strictObject({
  requests: z.record(z.string(), quantity).optional(),
  limits: z.record(z.string(), quantity).optional(),
  claims: z.array(loose).optional(),
});

const container = z.looseObject({
  name: dnsLabel,
  image: z.string().min(1),
  command: z.array(z.string()).optional(),
  args: z.array(z.string()).optional(),
  ports: z.array(z.looseObject({ containerPort: port, name: z.string().max(15).optional() })).optional(),
  env: z.array(z.looseObject({ name: z.string().min(1), value: z.string().optional() })).optional(),
  resources: resources.optional(),
  volumeMounts: z.array(z.looseObject({ name: z.string().min(1), mountPath: z.string().min(1) })).optional(),
});

const podFields = {
  initContainers: z.array(container).optional(),
  volumes: z.array(z.looseObject({ name: dnsLabel })).optional(),
  nodeSelector: texts.optional(),
  nodeName: z.string().optional(),
  restartPolicy: z.enum(['Always', 'OnFailure', 'Never']).optional(),
  tolerations: z
    .array(
      z.strictObject({
        key: z.string().optional(),
        operator: z.enum(['Exists', 'Equal']).optional(),
        value: z.string().optional(),
        effect: z.enum(['NoSchedule', 'PreferNoSchedule', 'NoExecute']).optional(),
        tolerationSeconds: z.number().optional(),
      }),
    )
    .optional(),
};
const podSpec = z.looseObject({ ...podFields, containers: z.array(container).min(1) });
const template = z.strictObject({ metadata: loose.optional(), spec: podSpec });
const selector = z.strictObject({ matchLabels: texts.optional(), matchExpressions: z.array(loose).optional() });

type Selected = {
  selector?: { matchLabels?: Record<string, string> };
  template?: { metadata?: Record<string, unknown> };
};

/** The selector of a workload must select its own pods. */
function selectsItself(spec: Selected, context: z.core.$RefinementCtx): void {
  const labels = (spec.template?.metadata?.labels ?? {}) as Record<string, string>;
  const wanted = Object.entries(spec.selector?.matchLabels ?? {});
  if (wanted.length === 0)
    context.addIssue({ code: 'custom', path: ['selector'], message: 'empty selector is invalid for deployment' });
  else if (wanted.some(([key, value]) => labels[key] !== value))
    context.addIssue({
      code: 'custom',
      path: ['template', 'metadata', 'labels'],
      message: '`selector` does not match template `labels`',
    });
}

const deploymentSpec = z
  .strictObject({
    replicas: z.int().min(0, 'must be greater than or equal to 0').optional(),
    selector,
    template,
    strategy: loose.optional(),
    minReadySeconds: z.number().optional(),
    revisionHistoryLimit: z.number().optional(),
    paused: z.boolean().optional(),
    progressDeadlineSeconds: z.number().optional(),
  })
  .superRefine(selectsItself);

const daemonSetSpec = z
  .strictObject({
    selector,
    template,
    updateStrategy: loose.optional(),
    minReadySeconds: z.number().optional(),
    revisionHistoryLimit: z.number().optional(),
  })
  .superRefine(selectsItself);

const statefulSetSpec = z
  .strictObject({
    replicas: z.int().min(0).optional(),
    selector,
    serviceName: z.string().optional(),
    template,
    volumeClaimTemplates: z.array(loose).optional(),
    podManagementPolicy: z.enum(['OrderedReady', 'Parallel']).optional(),
    updateStrategy: loose.optional(),
    minReadySeconds: z.number().optional(),
    revisionHistoryLimit: z.number().optional(),
    ordinals: loose.optional(),
    persistentVolumeClaimRetentionPolicy: loose.optional(),
  })
  .superRefine(selectsItself);

const jobSpec = z.strictObject({
  template: template.refine((value) => ['OnFailure', 'Never'].includes(value.spec.restartPolicy ?? 'Always'), {
    path: ['spec', 'restartPolicy'],
    error: 'valid values: "OnFailure", "Never"',
  }),
  parallelism: z.int().min(0).optional(),
  completions: z.int().min(0).optional(),
  completionMode: z.enum(['NonIndexed', 'Indexed']).optional(),
  backoffLimit: z.int().min(0).optional(),
  activeDeadlineSeconds: z.int().min(1).optional(),
  ttlSecondsAfterFinished: z.int().min(0).optional(),
  suspend: z.boolean().optional(),
  selector: selector.optional(),
  manualSelector: z.boolean().optional(),
  podFailurePolicy: loose.optional(),
});

const cronJobSpec = z.strictObject({
  schedule: z.string().regex(/^(@\w+|\S+ \S+ \S+ \S+ \S+)$/, 'expected exactly 5 fields'),
  timeZone: z.string().optional(),
  jobTemplate: z.strictObject({ metadata: loose.optional(), spec: jobSpec }),
  concurrencyPolicy: z.enum(['Allow', 'Forbid', 'Replace']).optional(),
  startingDeadlineSeconds: z.number().optional(),
  successfulJobsHistoryLimit: z.number().optional(),
  failedJobsHistoryLimit: z.number().optional(),
  suspend: z.boolean().optional(),
});

export const workloadSchemas: Record<string, z.ZodType> = {
  Pod: z.strictObject({ ...head, spec: podSpec, status: loose.optional() }),
  Deployment: withSpec(deploymentSpec),
  DaemonSet: withSpec(daemonSetSpec),
  StatefulSet: withSpec(statefulSetSpec),
  Job: withSpec(jobSpec),
  CronJob: withSpec(cronJobSpec),
};
