import { lastSeen } from '../deadline.ts';
import { loadBalancerAddress } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { type NewIngressArgs, readCall } from '../plan/new-ingress.ts';
import type { HttpAnswer, Ports } from '../ports/types.ts';
import { STAGING } from '../render/cert-manager.ts';
import type { Proof } from '../step.ts';

/** Seconds until Traefik has taken up a new Ingress and its certificate. */
const UNTIL_SERVED = 90;

/**
 * Proves from outside what a browser will see: HTTP is redirected for good, and HTTPS answers under a certificate
 * for the name. Dialled at Traefik's load balancer, so that the name need not resolve yet.
 */
export async function verifyNewIngress({ config }: Lab, ports: Ports, args: NewIngressArgs): Promise<Proof[]> {
  if (!args.apply) return [];
  const call = readCall(args);
  // Any name stands for a wildcard's.
  const host = call.host.replace(/^\*\./, 'proof.');
  const traefik = await ports.kube.get({
    apiVersion: 'v1',
    kind: 'Service',
    name: 'traefik',
    namespace: 'kube-system',
  });
  const address = loadBalancerAddress(traefik);
  if (!address)
    return [
      {
        claim: `${call.host} is served`,
        ok: false,
        detail: traefik
          ? 'Traefik has no load balancer address; see install-metallb'
          : 'there is no Service kube-system/traefik',
      },
    ];
  const plain = `http://${host}${args.probe}`;
  const secure = `https://${host}${args.probe}`;
  return Promise.all([
    served(ports, `${plain} redirects to HTTPS`, address, plain, (answer) => judgeRedirect(answer, host)),
    served(ports, `${secure} answers 200`, address, secure, (answer) => judgePage(answer, host, config.ingress.issuer)),
  ]);
}

type Judgement = { ok: boolean; detail: string };

/** Asks until the answer is right, or until it should have been. */
async function served(
  { net, clock }: Ports,
  claim: string,
  address: string,
  url: string,
  judge: (answer: HttpAnswer) => Judgement,
): Promise<Proof> {
  const look = async (): Promise<Judgement> => {
    const answer = await net.http(url, { address });
    return answer.ok ? judge(answer.value) : { ok: false, detail: answer.reason };
  };
  const { ok, detail } = await lastSeen(UNTIL_SERVED, look, (judgement) => judgement.ok, { clock });
  return { claim, ok, detail: `${detail} (at ${address})` };
}

/** For good (301), and to the same name. */
export function judgeRedirect({ status, headers }: HttpAnswer, host: string): Judgement {
  const location = headers.location ?? '';
  if (status === 301 && location.startsWith(`https://${host}/`)) return { ok: true, detail: `${status} → ${location}` };
  if (status === 404)
    return { ok: false, detail: '404: Traefik has no route for it; is the redirect middleware there?' };
  return { ok: false, detail: `${status}${location ? ` → ${location}` : ''}` };
}

/** Let's Encrypt's staging names its authorities so, lest anybody trust them. */
const BY_STAGING = /\(STAGING\)|^Fake LE /;

/**
 * 200, under a certificate that names the host and verifies. Nobody trusts those of the staging issuer, by design:
 * where it is homelab.yaml's, one of it is right.
 */
export function judgePage({ status, certificate }: HttpAnswer, host: string, wanted: string): Judgement {
  const { names = [], issuer = '', authorized = false, validTo = '' } = certificate ?? {};
  const shown = `certificate for ${names.join(', ') || 'no name'} by ${issuer || 'nobody'}`;
  if (/TRAEFIK DEFAULT CERT/i.test(issuer))
    return { ok: false, detail: `${status}, Traefik's default certificate: its Secret is not there` };
  if (!names.some((name) => covers(name, host))) return { ok: false, detail: `${status}, ${shown}: not for ${host}` };
  const staged = BY_STAGING.test(issuer);
  if (staged && wanted !== STAGING)
    return { ok: false, detail: `${status}, ${shown}: of ${STAGING}, not of ${wanted}; nobody trusts it` };
  if (!authorized && !staged) return { ok: false, detail: `${status}, ${shown}: it does not verify` };
  const why: Record<number, string> = {
    404: ': the application (or Traefik) has no such page; --probe names one that answers 200',
    502: ': the Service does not answer',
    503: ': the Service has no ready pods',
  };
  if (status !== 200) return { ok: false, detail: `${status}${why[status] ?? ''}, ${shown}` };
  return { ok: true, detail: `200, ${shown}, until ${validTo}${staged ? ', untrusted by design' : ''}` };
}

/** Whether a certificate's name, which may start with "*.", is one for `host`. */
function covers(name: string, host: string): boolean {
  return name === host || (name.startsWith('*.') && host.split('.').slice(1).join('.') === name.slice(2));
}
