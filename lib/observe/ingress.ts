import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import { findObject, ofKind, refOf } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { dig, textOf } from '../loose.ts';
import type { RunContext } from '../main.ts';
import { CLOUDFLARE_TOKEN, type IngressClusterSeen, type IngressSeen } from '../plan/ingress.ts';
import type { Answer, KubeReader, Readers } from '../ports/types.ts';
import {
  CERT_MANAGER,
  CERT_MANAGER_WORKLOADS,
  CLOUDFLARE_SECRET,
  certManagerNamespace,
  cloudflareSecret,
} from '../render/cert-manager.ts';
import { middlewareObject } from '../render/ingress.ts';
import type { Secrets } from '../secret.ts';
import type { KubeObject } from '../step.ts';
import { CHART_KINDS, chartIn } from './chart.ts';

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
  const middleware = middlewareObject(config.ingress);
  const namespace = certManagerNamespace();
  try {
    // Of all Secrets only this one is read.
    const [answer, token] = await Promise.all([
      kube.survey([namespace, ...CHART_KINDS, ISSUER, middleware]),
      kube.get(refOf(cloudflareSecret())),
    ]);
    if (!answer.ok) return answer;
    const objects = answer.value;
    return {
      ok: true,
      value: {
        namespace: findObject(objects, refOf(namespace)),
        chart: chartIn(objects, CERT_MANAGER, CERT_MANAGER, CERT_MANAGER_WORKLOADS),
        token: compareToken(token, secrets),
        issuers: ofKind(objects, ISSUER),
        middleware: findObject(objects, refOf(middleware)),
      },
    };
  } catch (error) {
    return { ok: false, reason: messageOf(error) };
  }
}

const ISSUER = { apiVersion: 'cert-manager.io/v1', kind: 'ClusterIssuer' };

/** The token itself stays here: what is seen is only whether it is ours. */
function compareToken(live: KubeObject | undefined, secrets: Secrets): IngressClusterSeen['token'] {
  const encoded = textOf(dig(live, 'data', CLOUDFLARE_SECRET.key));
  if (encoded === undefined) return live ? 'differs' : 'absent';
  return Buffer.from(encoded, 'base64').toString() === secrets.get(CLOUDFLARE_TOKEN)?.reveal() ? 'same' : 'differs';
}
