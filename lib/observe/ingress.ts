import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import { refOf } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { dig, textOf } from '../loose.ts';
import type { RunContext } from '../main.ts';
import { CLOUDFLARE_TOKEN, type IngressClusterSeen, type IngressSeen } from '../plan/ingress.ts';
import type { Answer, KubeReader, Readers } from '../ports/types.ts';
import { CERT_MANAGER, CERT_MANAGER_WORKLOADS, CLOUDFLARE_SECRET, cloudflareSecret } from '../render/cert-manager.ts';
import { middlewareObject } from '../render/ingress.ts';
import type { Secrets } from '../secret.ts';
import type { KubeObject } from '../step.ts';
import { observeChart } from './chart.ts';

/** The committed middleware, and what the cluster has of cert-manager and Traefik's redirect. */
export async function observeIngress(
  lab: Lab,
  { kube, files }: Pick<Readers, 'kube' | 'files'>,
  _args: unknown,
  { secrets }: Pick<RunContext, 'secrets'>,
): Promise<IngressSeen> {
  const [middlewareFile, cluster] = await Promise.all([
    files.text(join(lab.paths.applications, 'traefik', 'middleware.yaml')),
    observeCluster(lab, kube, secrets),
  ]);
  return { middlewareFile, cluster };
}

async function observeCluster(
  { config }: Lab,
  kube: KubeReader,
  secrets: Secrets,
): Promise<Answer<IngressClusterSeen>> {
  const reachable = await kube.reachable();
  if (!reachable.ok) return reachable;
  const middleware = middlewareObject(config.ingress);
  try {
    const [namespace, chart, token, issuers, redirect] = await Promise.all([
      kube.get({ apiVersion: 'v1', kind: 'Namespace', name: CERT_MANAGER }),
      observeChart(kube, CERT_MANAGER, CERT_MANAGER, CERT_MANAGER_WORKLOADS),
      kube.get(refOf(cloudflareSecret())),
      kube.list('cert-manager.io/v1', 'ClusterIssuer'),
      kube.get(refOf(middleware)),
    ]);
    return {
      ok: true,
      value: { namespace, chart, token: compareToken(token, secrets), issuers, middleware: redirect },
    };
  } catch (error) {
    return { ok: false, reason: messageOf(error) };
  }
}

/** The token itself stays here: what is seen is only whether it is ours. */
function compareToken(live: KubeObject | undefined, secrets: Secrets): IngressClusterSeen['token'] {
  const encoded = textOf(dig(live, 'data', CLOUDFLARE_SECRET.key));
  if (encoded === undefined) return live ? 'differs' : 'absent';
  return Buffer.from(encoded, 'base64').toString() === secrets.get(CLOUDFLARE_TOKEN)?.reveal() ? 'same' : 'differs';
}
