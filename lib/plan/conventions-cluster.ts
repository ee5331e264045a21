import { underWay } from '../issuance.ts';
import { isReady, isTrue, ofKind, readiness, titleOf } from '../kube-object.ts';
import { dig, type Loose, mapsIn, textOf, textsIn } from '../loose.ts';
import { ISSUER, MIDDLEWARES } from '../render/ingress.ts';
import type { KubeObject } from '../step.ts';
import { CLUSTER, type ConventionProblem, type Conventions, type Placed } from './convention-problem.ts';

/** What the cluster holds, as far as conventions are about it. */
export type ClusterConventions = {
  objects: KubeObject[];
  /** When the certificate expires that is shown for a host, in milliseconds: of those that nobody renews. */
  expiry: Record<string, number>;
  now: number;
};

const INGRESS = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress' };
const CERTIFICATE = { apiVersion: 'cert-manager.io/v1', kind: 'Certificate' };
const DAY = 24 * 3600 * 1000;
/** Days before a certificate expires when it is said. Let's Encrypt's of 90 days are renewed with 30 left. */
const SOON = 21;

/** What can only be told with the cluster: what an Ingress refers to, and certificates. `placed` holds files and cluster. */
export function clusterProblems(
  placed: readonly Placed[],
  cluster: ClusterConventions,
  conventions: Conventions,
): ConventionProblem[] {
  const ingresses = placed.filter(({ object }) => object.kind === 'Ingress');
  const planned = [...placed.map(({ object }) => object), ...cluster.objects];
  const live = new Set(ofKind(cluster.objects, INGRESS).map(titleOf));
  return [
    ...ingresses.flatMap((each) => {
      // What does not work now is an error; of a file that is not applied, the other half may still come.
      const isLive = live.has(titleOf(each.object));
      const known = isLive ? cluster.objects : planned;
      const level = isLive ? 'error' : 'warning';
      return [...serviceProblems(each, known), ...middlewareProblems(each, known, conventions)].map(
        ({ message, fix }): ConventionProblem => ({
          ...{ level, place: each.place, object: titleOf(each.object), message, fix },
        }),
      );
    }),
    ...certificateProblems(cluster),
    ...unrenewedProblems(cluster),
  ];
}

type Wrong = Pick<ConventionProblem, 'message' | 'fix'>;

function serviceProblems({ object }: Placed, known: readonly KubeObject[]): Wrong[] {
  const { namespace = 'default' } = object.metadata;
  const services = known.filter(
    ({ kind, metadata }) => kind === 'Service' && (metadata.namespace ?? 'default') === namespace,
  );
  const paths = mapsIn(dig(object.spec, 'rules')).flatMap((rule) => mapsIn(dig(rule, 'http', 'paths')));
  return paths.flatMap((path): Wrong[] => {
    const name = textOf(dig(path, 'backend', 'service', 'name'));
    if (!name) return [];
    const found = services.filter(({ metadata }) => metadata.name === name);
    if (found.length === 0)
      return [
        { message: `there is no Service ${namespace}/${name}: it answers 404`, fix: 'deploy it, or correct the name' },
      ];
    const port = dig(path, 'backend', 'service', 'port');
    const ports = found.flatMap((service) => mapsIn(dig(service.spec, 'ports')));
    if (hasPort(ports, port)) return [];
    const shown = String(dig(port, 'number') ?? dig(port, 'name'));
    const there = [...new Set(ports.map((each) => String(each.port)))].join(', ');
    const message = `Service ${namespace}/${name} has no port ${shown}: it answers 404`;
    return [{ message, fix: `it has ${there || 'none'}` }];
  });
}

function hasPort(ports: readonly Loose[], wanted: unknown): boolean {
  const [number, name] = [dig(wanted, 'number'), dig(wanted, 'name')];
  // What names no port at all is told of the Ingress itself.
  if (number === undefined && name === undefined) return true;
  return ports.some((port) => (number !== undefined ? port.port === number : port.name === name));
}

function middlewareProblems(
  { object }: Placed,
  known: readonly KubeObject[],
  { ingress: convention }: Conventions,
): Wrong[] {
  const there = new Set(
    known
      .filter(({ kind }) => kind === 'Middleware')
      .map(({ metadata }) => `${metadata.namespace ?? 'default'}-${metadata.name}@kubernetescrd`),
  );
  const named = (object.metadata.annotations?.[MIDDLEWARES] ?? '').split(',').map((word) => word.trim());
  return named
    .filter((word) => word.endsWith('@kubernetescrd') && !there.has(word))
    .map((word) => ({
      message: `the Middleware ${word} is not in the cluster: it answers 404`,
      fix: word === convention.middleware ? 'run setup-ingress' : 'apply it, or take it from the annotation',
    }));
}

/** Certificates that expire, or were to be renewed and were not. */
function certificateProblems({ objects, now }: ClusterConventions): ConventionProblem[] {
  return ofKind(objects, CERTIFICATE).flatMap((certificate): ConventionProblem[] => {
    const { status } = certificate;
    const say = (level: ConventionProblem['level'], message: string): ConventionProblem[] => [
      {
        ...{ level, place: CLUSTER, object: titleOf(certificate), message },
        fix: `\`new-ingress --apply\` of its application says why; or see \`k3s kubectl -n ${certificate.metadata.namespace} describe certificate ${certificate.metadata.name}\``,
      },
    ];
    const expires = Date.parse(String(dig(status, 'notAfter')));
    const renews = Date.parse(String(dig(status, 'renewalTime')));
    const failed = textOf(dig(status, 'lastFailureTime'));
    // One that lives for days only is always close to its end: what counts is when it is to be renewed.
    if (expires - now < SOON * DAY && !(renews > now)) return say('error', `${ends(expires, now)}, and is not renewed`);
    const attempt = isTrue(certificate, 'Issuing') ? underWay(objects, certificate) : undefined;
    if (attempt?.state === 'stuck')
      return say('error', `it cannot be issued anew: ${attempt.seen}${attempt.cause ? ` (${attempt.cause})` : ''}`);
    if (failed && !attempt) return say('error', `its last issue failed, on ${day(Date.parse(failed))}`);
    return isReady(certificate) ? [] : say('warning', `it is ${readiness(certificate)}`);
  });
}

/** Secrets of Ingresses for which there is no Certificate. */
export function unrenewed(objects: readonly KubeObject[]): { ingress: KubeObject; secret: string; hosts: string[] }[] {
  const written = new Set(
    ofKind(objects, CERTIFICATE).map(({ metadata, spec }) => `${metadata.namespace}/${dig(spec, 'secretName')}`),
  );
  return ofKind(objects, INGRESS).flatMap((ingress) =>
    mapsIn(dig(ingress.spec, 'tls')).flatMap((entry) => {
      const secret = textOf(entry.secretName);
      if (!secret || written.has(`${ingress.metadata.namespace}/${secret}`)) return [];
      return [{ ingress, secret, hosts: textsIn(entry.hosts) }];
    }),
  );
}

function unrenewedProblems({ objects, expiry, now }: ClusterConventions): ConventionProblem[] {
  return unrenewed(objects).map(({ ingress, secret, hosts }) => {
    const known = hosts.flatMap((host) => expiry[host] ?? []);
    const first = Math.min(...known);
    const until = known.length > 0 ? `; what is shown for ${hosts.join(', ')} ${ends(first, now)}` : '';
    return {
      level: first - now < SOON * DAY ? 'error' : 'warning',
      place: CLUSTER,
      object: titleOf(ingress),
      message: `nobody renews the certificate in the Secret ${secret}: there is no Certificate for it${until}`,
      fix: ingress.metadata.annotations?.[ISSUER]
        ? 'see the events of the Ingress: cert-manager leaves a Secret alone that another Ingress has, or a person'
        : `add the annotation ${ISSUER}`,
    };
  });
}

function ends(expires: number, now: number): string {
  const days = Math.floor((expires - now) / DAY);
  if (days < 0) return `expired on ${day(expires)}`;
  return `expires on ${day(expires)} (${days === 1 ? 'in a day' : days === 0 ? 'today' : `in ${days} days`})`;
}

function day(time: number): string {
  return new Date(time).toISOString().slice(0, 10);
}
