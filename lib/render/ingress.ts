import { parse, stringify } from 'yaml';
import type { Config } from '../config/schema.ts';
import { dig } from '../loose.ts';
import type { KubeObject } from '../step.ts';

/** What distinguishes one application's ingress from another; the rest is the convention. */
export type IngressCall = { name: string; namespace: string; host: string; service: string; port: number };

/** What homelab.yaml says of every ingress. */
export type Convention = Pick<Config['ingress'], 'class' | 'issuer' | 'middleware'>;

export const MIDDLEWARES = 'traefik.ingress.kubernetes.io/router.middlewares';
export const ISSUER = 'cert-manager.io/cluster-issuer';

/** The Ingress of an application: TLS by the issuer, and HTTP redirected to HTTPS. */
export function ingressObject(call: IngressCall, convention: Convention): KubeObject {
  const { name, namespace, host, service, port } = call;
  return {
    apiVersion: 'networking.k8s.io/v1',
    kind: 'Ingress',
    metadata: {
      name,
      namespace,
      annotations: { [ISSUER]: convention.issuer, [MIDDLEWARES]: convention.middleware },
    },
    spec: {
      ingressClassName: convention.class,
      tls: [{ hosts: [host], secretName: secretNameOf(name) }],
      rules: [
        {
          host,
          http: {
            paths: [{ path: '/', pathType: 'Prefix', backend: { service: { name: service, port: { number: port } } } }],
          },
        },
      ],
    },
  };
}

/** Where the certificate of an application is stored. */
export function secretNameOf(name: string): string {
  return `${name}-tls`;
}

/** The text of applications/NAME/ingress.yaml. */
export function ingressYaml(call: IngressCall, convention: Convention): string {
  return toYaml(ingressObject(call, convention));
}

/**
 * The call that an ingress.yaml was written for, if it is what `ingressYaml` writes, byte for byte, under the
 * convention that the file itself names: a new issuer in homelab.yaml does not make older files hand-edited.
 * @returns undefined for a file that somebody edited
 */
export function callOf(text: string): IngressCall | undefined {
  let object: unknown;
  try {
    object = parse(text);
  } catch {
    return undefined;
  }
  const word = (...path: (string | number)[]): string => String(dig(object, ...path));
  const backend = ['spec', 'rules', 0, 'http', 'paths', 0, 'backend', 'service'];
  const call = {
    name: word('metadata', 'name'),
    namespace: word('metadata', 'namespace'),
    host: word('spec', 'rules', 0, 'host'),
    service: word(...backend, 'name'),
    port: Number(word(...backend, 'port', 'number')),
  };
  const convention = {
    class: word('spec', 'ingressClassName'),
    issuer: word('metadata', 'annotations', ISSUER),
    middleware: word('metadata', 'annotations', MIDDLEWARES),
  };
  return ingressYaml(call, convention) === text ? call : undefined;
}

/** The redirect to HTTPS that every ingress names. */
export function middlewareObject({ middleware }: Convention): KubeObject {
  const { namespace, name } = middlewareRef(middleware);
  return {
    apiVersion: 'traefik.io/v1alpha1',
    kind: 'Middleware',
    metadata: { name, namespace },
    spec: { redirectScheme: { scheme: 'https', permanent: true } },
  };
}

/** The text of applications/traefik/middleware.yaml. */
export function middlewareYaml(convention: Convention): string {
  return toYaml(middlewareObject(convention));
}

/**
 * The object behind `NAMESPACE-NAME@kubernetescrd`. Traefik joins the two with "-" and cannot be asked where the
 * namespace ends; the first "-" is taken, so a namespace that has one cannot be used for it.
 */
export function middlewareRef(middleware: string): { namespace: string; name: string } {
  const [joined = ''] = middleware.split('@');
  const [namespace = '', ...rest] = joined.split('-');
  return { namespace, name: rest.join('-') };
}

/** Lines are never folded: a long host must stay one word for whoever searches for it. */
function toYaml(object: KubeObject): string {
  return stringify(object, { lineWidth: 0 });
}
