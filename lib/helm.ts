import { HomelabError, messageOf } from './errors.ts';
import { isTrue } from './kube-object.ts';
import { dig, mapsIn } from './loose.ts';
import type { KubeReader, Ports } from './ports/types.ts';
import { chartJobRef, chartRef } from './render/helm-chart.ts';
import type { KubeObject } from './step.ts';

/**
 * Whether K3s's helm-controller has installed a chart. A HelmChart has no condition Ready: its status names a
 * Job, and that Job's end is the install's.
 * @returns undefined when it has, or what is seen instead
 * @throws HomelabError when helm has given up
 */
export async function chartInstalled(
  { name, version }: { name: string; version: string },
  kube: KubeReader,
): Promise<string | undefined> {
  let chart: KubeObject | undefined;
  let job: KubeObject | undefined;
  try {
    [chart, job] = await Promise.all([kube.get(chartRef(name)), kube.get(chartJobRef(name))]);
  } catch (error) {
    return messageOf(error);
  }
  // The HelmChart's own condition may be that of the attempt before.
  if (isTrue(job, 'Failed'))
    throw new HomelabError(`helm could not install ${name} ${version}`, {
      fix: 'correct what helm says, run it again',
    });
  if (!job) return chart ? 'helm has not started yet' : `there is no HelmChart ${name}`;
  // After an upgrade the Job of the version before may still stand there, succeeded.
  const installs = versionOf(job);
  if (installs && installs !== version) return `helm's last job was for ${installs}`;
  if (dig(job, 'status', 'succeeded') === 1) return undefined;
  return `helm's job goes on; tries that failed: ${Number(dig(job, 'status', 'failed') ?? 0)}`;
}

/** The error, with the end of what helm said. */
export async function withHelmLog(error: unknown, name: string, kube: Pick<Ports['kube'], 'logs'>): Promise<unknown> {
  if (!(error instanceof HomelabError)) return error;
  const log = await kube
    .logs('kube-system', `job/${chartJobRef(name).name}`, 20)
    .catch((reason: unknown) => `helm's log cannot be had: ${messageOf(reason)}`);
  return new HomelabError(error.message, { fix: error.fix, cause: error.likelyCause, output: log.trimEnd() });
}

function versionOf(job: KubeObject): string | undefined {
  const env = mapsIn(dig(job, 'spec', 'template', 'spec', 'containers', 0, 'env'));
  const version = env.find(({ name }) => name === 'VERSION')?.value;
  return typeof version === 'string' ? version : undefined;
}
