import { isReady, readiness, titleOf } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import {
  CERT_MANAGER_WORKLOADS,
  CLOUDFLARE_SECRET,
  certManagerChart,
  certManagerNamespace,
  cloudflareSecret,
  clusterIssuers,
} from '../render/cert-manager.ts';
import { middlewareObject, middlewareYaml } from '../render/ingress.ts';
import { joinPlans, type KubeObject, type Note, type Plan, type Step } from '../step.ts';
import { type ChartSeen, chartSteps } from './chart-steps.ts';
import { needsApply } from './differences.ts';

export const CLOUDFLARE_TOKEN = 'CLOUDFLARE_API_TOKEN';

export type IngressSeen = {
  /** applications/traefik/middleware.yaml as it is. */
  middlewareFile?: string;
  cluster: { ok: true; value: IngressClusterSeen } | { ok: false; reason: string };
};

export type IngressClusterSeen = {
  namespace?: KubeObject;
  chart: ChartSeen;
  /** Whether the Secret in the cluster holds the token of .env; never the token itself. */
  token: 'absent' | 'differs' | 'same';
  issuers: KubeObject[];
  middleware?: KubeObject;
};

const empty: IngressClusterSeen = { chart: { rolledOut: false }, token: 'absent', issuers: [] };

/** cert-manager with its issuers, and the redirect to HTTPS that every ingress names. */
export function planIngress({ config, paths }: Pick<Lab, 'config' | 'paths'>, seen: IngressSeen): Plan {
  const cluster = seen.cluster.ok ? seen.cluster.value : empty;
  const plan = joinPlans(
    planMiddleware(config.ingress, `${paths.applications}/traefik/middleware.yaml`, seen.middlewareFile, cluster),
    planCertManager(config, cluster),
  );
  if (seen.cluster.ok) return plan;
  const text = `the cluster does not answer: ${seen.cluster.reason}`;
  const note: Note = { level: 'blocker', text, fix: 'run install-k3s', waitsFor: 'install-k3s' };
  return { ...plan, notes: [...plan.notes, note] };
}

function planMiddleware(
  convention: Lab['config']['ingress'],
  file: string,
  text: string | undefined,
  { middleware }: IngressClusterSeen,
): Plan {
  const wanted = middlewareYaml(convention);
  const object = middlewareObject(convention);
  const steps: Step[] = [];
  if (text !== wanted)
    steps.push({
      id: 'middleware/file',
      title: 'write applications/traefik/middleware.yaml',
      why: text === undefined ? 'absent' : 'differs',
      action: { kind: 'write', path: file, content: wanted },
    });
  const why = needsApply(object, middleware);
  if (why)
    steps.push({
      id: 'middleware',
      title: `apply ${titleOf(object)}`,
      why,
      after: steps.map(({ id }) => id),
      // K3s installs Traefik's own kinds some time after its API answers.
      action: { kind: 'kube', verb: 'apply', objects: [object], deadline: 300 },
    });
  return { steps, notes: [] };
}

function planCertManager(config: Lab['config'], seen: IngressClusterSeen): Plan {
  const steps: Step[] = [];
  const namespace = certManagerNamespace();
  const noNamespace = needsApply(namespace, seen.namespace);
  if (noNamespace)
    steps.push({
      id: 'cert-manager/namespace',
      title: `apply ${titleOf(namespace)}`,
      why: noNamespace,
      action: { kind: 'kube', verb: 'apply', objects: [namespace], deadline: 60 },
    });
  const afterNamespace = steps.map(({ id }) => id);

  const chart = chartSteps(certManagerChart(config.ingress), CERT_MANAGER_WORKLOADS, seen.chart, afterNamespace);
  steps.push(...chart.steps);
  const before = [...chart.last];
  if (seen.token !== 'same') {
    before.push('cert-manager/token');
    steps.push({
      id: 'cert-manager/token',
      title: `apply ${titleOf(cloudflareSecret())}`,
      why: seen.token,
      after: afterNamespace,
      action: {
        kind: 'kube',
        verb: 'apply',
        objects: [cloudflareSecret()],
        secrets: { [CLOUDFLARE_SECRET.key]: { secret: CLOUDFLARE_TOKEN } },
        deadline: 60,
      },
    });
  }
  for (const issuer of clusterIssuers(config)) steps.push(...issuerSteps(issuer, seen.issuers, before));
  return { steps, notes: [] };
}

/** An issuer, and its account with Let's Encrypt. */
function issuerSteps(issuer: KubeObject, issuers: readonly KubeObject[], before: string[]): Step[] {
  const { name } = issuer.metadata;
  const live = issuers.find(({ metadata }) => metadata.name === name);
  const why = needsApply(issuer, live);
  if (!why && isReady(live)) return [];
  const { apiVersion, kind } = issuer;
  const wait: Step = {
    id: `issuer/${name}/ready`,
    title: `wait for ${titleOf(issuer)}`,
    why: why ?? readiness(live),
    after: why ? [`issuer/${name}`] : before,
    action: {
      kind: 'wait',
      for: { kube: { apiVersion, kind, name }, path: 'status.conditions[Ready].status', equals: 'True' },
      deadline: 180,
    },
  };
  if (!why) return [wait];
  // The webhook refuses for a while after its rollout; applying is tried again until then.
  const apply: Step = {
    id: `issuer/${name}`,
    title: `apply ${titleOf(issuer)}`,
    why,
    after: before,
    action: { kind: 'kube', verb: 'apply', objects: [issuer], deadline: 180 },
  };
  return [apply, wait];
}
