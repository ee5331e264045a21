import type { StepResult } from '../apply.ts';
import { isReady, readiness, titleOf } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import type { RunContext } from '../main.ts';
import { observeIngress } from '../observe/ingress.ts';
import { needsApply } from '../plan/differences.ts';
import type { IngressSeen } from '../plan/ingress.ts';
import type { Ports } from '../ports/types.ts';
import { CERT_MANAGER_WORKLOADS, clusterIssuers } from '../render/cert-manager.ts';
import { middlewareObject } from '../render/ingress.ts';
import type { Proof } from '../step.ts';

/** Looks again: what an ingress needs is there and Ready. That a page is served is proven by new-ingress. */
export async function verifyIngress(
  lab: Lab,
  ports: Ports,
  args: unknown,
  context: Pick<RunContext, 'secrets'>,
  seen: IngressSeen,
  applied: readonly StepResult[],
): Promise<Proof[]> {
  return ingressProofs(lab, applied.length === 0 ? seen : await observeIngress(lab, ports, args, context));
}

/** What a look at the cluster proves. */
export function ingressProofs({ config }: Pick<Lab, 'config'>, { cluster }: IngressSeen): Proof[] {
  if (!cluster.ok) return [{ claim: 'the cluster answers', ok: false, detail: cluster.reason }];
  const { chart, token, issuers, middleware } = cluster.value;
  const wanted = middlewareObject(config.ingress);
  const difference = needsApply(wanted, middleware);
  return [
    {
      claim: `cert-manager ${config.ingress.cert_manager} serves`,
      ok: chart.rolledOut,
      detail: chart.rolledOut ? `${CERT_MANAGER_WORKLOADS.length} Deployments ready` : 'its Deployments are not ready',
    },
    {
      claim: "cert-manager has .env's Cloudflare token",
      ok: token === 'same',
      detail: token === 'same' ? 'the same' : token,
    },
    ...clusterIssuers(config).map((issuer): Proof => {
      const live = issuers.find(({ metadata }) => metadata.name === issuer.metadata.name);
      return { claim: `${titleOf(issuer)} is Ready`, ok: isReady(live), detail: readiness(live) };
    }),
    {
      claim: `${titleOf(wanted)} redirects to HTTPS`,
      ok: !difference,
      detail: difference ?? 'redirectScheme https, permanent',
    },
  ];
}
