import { titleOf } from '../kube-object.ts';
import { dig, isMap, type Loose, mapsIn, textOf, textsIn } from '../loose.ts';
import { ISSUER, MIDDLEWARES } from '../render/ingress.ts';
import type { KubeObject } from '../step.ts';
import { CLUSTER, type ConventionProblem, type Conventions, type Placed } from './convention-problem.ts';
import { hostProblem } from './host-name.ts';

const ROUTER = 'traefik.ingress.kubernetes.io/router';

/** What is wrong with each Ingress by itself. */
export function ingressProblems(placed: readonly Placed[], conventions: Conventions): ConventionProblem[] {
  return placed.filter(({ object }) => object.kind === 'Ingress').flatMap((each) => oneProblems(each, conventions));
}

function oneProblems(placed: Placed, { ingress, domain }: Conventions): ConventionProblem[] {
  const { object } = placed;
  const problems: ConventionProblem[] = [];
  const say = (message: string, fix: string, level: ConventionProblem['level'] = 'error'): void => {
    problems.push({ level, place: placed.place, object: titleOf(object), message, fix });
  };
  const annotations = object.metadata.annotations ?? {};
  const { spec } = object;
  const className = textOf(dig(spec, 'ingressClassName'));
  const tls = mapsIn(dig(spec, 'tls'));

  if (className !== ingress.class) say(`ingressClassName is ${className ?? 'missing'}`, `set it to ${ingress.class}`);
  if (annotations[ISSUER] !== ingress.issuer)
    say(`${ISSUER} is ${annotations[ISSUER] ?? 'missing'}`, `set it to ${ingress.issuer}`);
  if (!words(annotations[MIDDLEWARES]).includes(ingress.middleware))
    say(`${MIDDLEWARES} does not name the redirect: HTTP is not sent to HTTPS`, `add ${ingress.middleware}`);
  for (const { message, fix } of routerProblems(object)) say(message, fix);

  if (tls.length === 0)
    say('spec.tls is missing: no certificate is issued', 'add spec.tls with the host and a secretName');
  for (const entry of tls)
    if (!textOf(entry.secretName))
      say(
        'a spec.tls entry has no secretName: no certificate is issued',
        `add secretName: ${object.metadata.name}-tls`,
      );
  const secured = new Set(tls.flatMap(({ hosts }) => textsIn(hosts)));
  for (const rule of mapsIn(dig(spec, 'rules'))) {
    const host = textOf(rule.host);
    if (!host) say('a rule has no host: it answers for every name', 'name its host');
    else {
      const wrong = hostProblem(host);
      if (wrong) say(wrong.message, wrong.fix);
      else if (!isInside(host, domain))
        say(`${host} is outside ${domain}`, 'the issuer proves names of that domain only', 'warning');
      if (tls.length > 0 && !secured.has(host)) say(`${host} is not among the hosts of spec.tls`, 'add it there');
    }
    for (const path of mapsIn(dig(rule, 'http', 'paths')))
      for (const { message, fix } of pathProblems(path)) say(message, fix);
  }
  return problems;
}

/** Annotations with which Traefik takes a route away from `web`, where HTTP is redirected. */
export function routerProblems({ metadata: { annotations = {} } }: KubeObject): { message: string; fix: string }[] {
  const entrypoints = annotations[`${ROUTER}.entrypoints`];
  const takesAway = entrypoints !== undefined && !words(entrypoints).includes('web');
  return [
    ...(takesAway
      ? [
          {
            message: `${ROUTER}.entrypoints is ${entrypoints}: HTTP answers 404 instead of a redirect`,
            fix: 'delete the annotation',
          },
        ]
      : []),
    ...(annotations[`${ROUTER}.tls`] === 'true'
      ? [
          {
            message: `${ROUTER}.tls is "true": HTTP answers 404 instead of a redirect`,
            fix: 'delete the annotation; spec.tls is enough',
          },
        ]
      : []),
  ];
}

function pathProblems(path: Loose): { message: string; fix: string }[] {
  const title = `path ${textOf(path.path) ?? '/'}`;
  const port = dig(path, 'backend', 'service', 'port');
  const given = isMap(port) ? ['number', 'name'].filter((key) => port[key] !== undefined) : [];
  return [
    ...(textOf(path.pathType)
      ? []
      : [{ message: `${title} has no pathType: the API server refuses it`, fix: 'set pathType: Prefix' }]),
    ...(given.length === 1
      ? []
      : [
          {
            message: `${title} must name its service's port by number or by name, not by ${given.length === 0 ? 'neither' : 'both'}`,
            fix: 'keep port.number',
          },
        ]),
  ];
}

/** Whether a host is the domain or a name in it. */
export function isInside(host: string, domain: string): boolean {
  return host === domain || host.endsWith(`.${domain}`);
}

/** A host of two ingresses goes to either; cert-manager refuses a second ingress with the same namespace and secretName. */
export function claimedTwice(ingresses: readonly Placed[]): ConventionProblem[] {
  const claims = new Map<string, Placed[]>();
  const claim = (what: string, by: Placed): void => {
    const others = claims.get(what) ?? [];
    // An Ingress of a file is the same one in the cluster.
    const isSame = ({ place, object }: Placed): boolean =>
      object === by.object ||
      (titleOf(object) === titleOf(by.object) && (place === CLUSTER) !== (by.place === CLUSTER));
    if (!others.some(isSame)) claims.set(what, [...others, by]);
  };
  for (const each of ingresses) for (const what of claimsOf(each.object)) claim(what, each);
  return [...claims].flatMap(([what, [first, ...others]]) =>
    others.map(
      (other): ConventionProblem => ({
        level: 'error',
        place: other.place,
        object: titleOf(other.object),
        message: `${what} is also claimed by ${titleOf(first!.object)} (${first!.place})`,
        fix: 'give one of them another',
      }),
    ),
  );
}

/** What an Ingress claims for itself alone: "host a.example.com", "secretName my-app/a-tls". */
export function claimsOf({ spec, metadata }: KubeObject): string[] {
  const hosts = mapsIn(dig(spec, 'rules')).flatMap(({ host }) => textOf(host) ?? []);
  const secrets = mapsIn(dig(spec, 'tls')).flatMap(({ secretName }) => textOf(secretName) ?? []);
  return [
    ...hosts.map((host) => `host ${host}`),
    ...secrets.map((secret) => `secretName ${metadata.namespace ?? 'default'}/${secret}`),
  ];
}

/** The entries of an annotation that holds a list. */
function words(annotation: string | undefined): string[] {
  return (annotation ?? '').split(',').map((word) => word.trim());
}
