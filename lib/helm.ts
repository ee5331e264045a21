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
  const known = KNOWN.find(({ says }) => says.test(log));
  const { cause = error.likelyCause, fix = error.fix } = known ?? {};
  return new HomelabError(error.message, { fix, cause, output: log.trimEnd() });
}

/** What helm says, and what it comes from. The first that matches counts. */
const KNOWN: readonly { says: RegExp; cause: string; fix: string }[] = [
  {
    says: /no chart version found|chart "[^"]*" (version|matching) .*not found/,
    cause: "the chart's repository has no such version",
    fix: 'correct the version in homelab.yaml, and run this again',
  },
  {
    says: /another operation \(install\/upgrade\/rollback\) is in progress/,
    cause: 'helm was ended in the middle, and keeps the release locked',
    fix: 'delete the newest Secret of the release (`k3s kubectl get secret -A -l owner=helm`, status pending-…), and run this again',
  },
  {
    says: /cannot be imported into the current release/,
    cause: 'it was installed before, by other means',
    fix: 'take that installation away (its data stays where its charts say so), and run this again',
  },
  {
    says: /no such host|i\/o timeout|connection refused|TLS handshake timeout|cannot be reached|server misbehaving/,
    cause: "the nodes do not reach the chart's repository",
    fix: 'have the nodes a way to the internet, and DNS?',
  },
];

function versionOf(job: KubeObject): string | undefined {
  const env = mapsIn(dig(job, 'spec', 'template', 'spec', 'containers', 0, 'env'));
  const version = env.find(({ name }) => name === 'VERSION')?.value;
  return typeof version === 'string' ? version : undefined;
}
