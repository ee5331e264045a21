import type { CertificateRef } from '../issuance.ts';
import { isReady, titleOf } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { dig, mapsIn } from '../loose.ts';
import { type IngressCall, middlewareRef, secretNameOf } from '../render/ingress.ts';
import type { KubeObject, Note, Plan, Step } from '../step.ts';
import { suggestion } from '../suggest.ts';
import { routerProblems } from './conventions-ingress.ts';
import { needsApply } from './differences.ts';
import type { ClusterSeen, NewIngressSeen } from './new-ingress.ts';

/** The Ingress and its certificate, or what is missing for them. */
export function planApply(
  call: IngressCall,
  wanted: KubeObject,
  { cluster }: Pick<NewIngressSeen, 'cluster'>,
  convention: Lab['config']['ingress'],
  writes: boolean,
): Plan {
  if (!cluster.ok)
    return {
      steps: [],
      notes: [{ level: 'blocker', text: `--apply: the cluster does not answer: ${cluster.reason}` }],
    };
  const { ingresses, certificate, issuance, ...rest } = cluster.value;
  const live = ingresses.find((object) => titleOf(object) === titleOf(wanted));
  const notes = [...serviceNotes(call, rest.services), ...componentNotes(rest, convention), ...liveNotes(live)];
  const why = needsApply(wanted, live);
  const steps: Step[] = [];
  const add = (step: Omit<Step, 'after'>, after = steps.at(-1)?.id ?? (writes ? 'file' : undefined)): void => {
    steps.push({ ...step, after: after === undefined ? [] : [after] });
  };
  if (why)
    add({
      id: 'ingress',
      title: `apply ${titleOf(wanted)}`,
      why,
      action: { kind: 'kube', verb: 'apply', objects: [wanted], deadline: 120 },
    });
  if (!why && certificate && issuance.state === 'ready') return { steps, notes };
  // After a failure cert-manager waits for an hour, and longer each time; for a new Certificate it starts at once.
  if (certificate && issuance.state === 'stuck' && isOwnedBy(certificate, wanted))
    add({
      id: 'certificate/retry',
      title: `delete ${titleOf(certificate)}, so that cert-manager asks for it anew`,
      why: issuance.seen,
      action: { kind: 'kube', verb: 'delete', objects: [certificate], deadline: 60 },
    });
  add({
    id: 'certificate',
    title: `wait for the certificate of ${call.host}`,
    why: certificate ? (issuance.state === 'ready' ? 'the Ingress changes' : issuance.seen) : 'absent',
    action: { kind: 'wait', for: { certificate: certificateRef(call) }, deadline: 600 },
  });
  return { steps, notes };
}

/** Whether cert-manager has made it for this Ingress, and would again: one of somebody else stays. */
function isOwnedBy({ metadata }: KubeObject, { kind, metadata: { name } }: KubeObject): boolean {
  return mapsIn(metadata.ownerReferences).some((owner) => owner.kind === kind && owner.name === name);
}

/** The Certificate that cert-manager makes for the Ingress. */
export function certificateRef({ name, namespace, host }: IngressCall): CertificateRef {
  return { name: secretNameOf(name), namespace, host };
}

/** What somebody else has put on the live Ingress, and applying ours would not take away. */
function liveNotes(live: KubeObject | undefined): Note[] {
  return live
    ? routerProblems(live).map(({ message, fix }) => ({
        level: 'blocker',
        text: `${titleOf(live)} in the cluster: ${message}`,
        fix,
      }))
    : [];
}

function serviceNotes({ service, namespace, port }: IngressCall, services: readonly KubeObject[]): Note[] {
  const names = services.map(({ metadata }) => metadata.name);
  const found = services.find(({ metadata }) => metadata.name === service);
  if (!found)
    return [
      {
        level: 'blocker',
        text: `namespace ${namespace} has no Service ${service}`,
        fix: names.length > 0 ? suggestion(service, names) : 'deploy the application first, or give --namespace',
      },
    ];
  const ports = mapsIn(dig(found, 'spec', 'ports')).map((each) => Number(each.port));
  if (ports.includes(port)) return [];
  return [
    {
      level: 'blocker',
      text: `Service ${namespace}/${service} has no port ${port}`,
      fix: ports.length > 0 ? `it has ${ports.join(', ')}` : 'it has none',
    },
  ];
}

function componentNotes(
  { middleware, issuer }: Pick<ClusterSeen, 'middleware' | 'issuer'>,
  convention: Lab['config']['ingress'],
): Note[] {
  const missing = (text: string): Note => ({ level: 'blocker', text, fix: 'run setup-ingress' });
  const { namespace, name } = middlewareRef(convention.middleware);
  return [
    ...(middleware
      ? []
      : [missing(`the Middleware ${namespace}/${name} is not in the cluster: Traefik would answer 404`)]),
    ...(issuer
      ? []
      : [missing(`the ClusterIssuer ${convention.issuer} is not in the cluster: no certificate would come`)]),
    ...(issuer && !isReady(issuer)
      ? [missing(`the ClusterIssuer ${convention.issuer} is not Ready: no certificate would come`)]
      : []),
  ];
}
