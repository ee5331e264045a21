import { DeadlineError, HomelabError } from './errors.ts';
import { causeOf } from './issuance-causes.ts';
import { conditionOf, findObject, isReady, ofKind } from './kube-object.ts';
import { dig, textOf, textsIn } from './loose.ts';
import type { KubeKind, KubeReader } from './ports/types.ts';
import type { KubeObject } from './step.ts';

/**
 * Why cert-manager has not issued a certificate. It says so in pieces: a Certificate makes a CertificateRequest, that
 * an Order, and that a Challenge for each name; the deepest of them that says something knows best.
 */

/** A certificate, and the name for which it has to be: after a change it may be one for the name before. */
export type CertificateRef = { name: string; namespace: string; host: string };

export type Issuance =
  | { state: 'ready' }
  /** It goes on; `seen` is what for. */
  | { state: 'waiting'; seen: string }
  /** It does not go on by itself, or not within any patience. */
  | { state: 'stuck'; seen: string; cause?: string; fix?: string };

const CERT_MANAGER = 'cert-manager.io/v1';
const ACME = 'acme.cert-manager.io/v1';
const CERTIFICATE = { apiVersion: CERT_MANAGER, kind: 'Certificate' };
const REQUEST = { apiVersion: CERT_MANAGER, kind: 'CertificateRequest' };
const ORDER = { apiVersion: ACME, kind: 'Order' };
const CHALLENGE = { apiVersion: ACME, kind: 'Challenge' };

/** What has to be asked for to see an issuance. */
export const ISSUANCE_KINDS: readonly KubeKind[] = [CERTIFICATE, REQUEST, ORDER, CHALLENGE];

/** How far a certificate has come, among objects of ISSUANCE_KINDS. */
export function issuanceOf(objects: readonly KubeObject[], ref: CertificateRef): Issuance {
  const { name, namespace } = ref;
  const certificate = findObject(objects, { ...CERTIFICATE, name, namespace });
  if (!certificate) return { state: 'waiting', seen: 'cert-manager has made no Certificate yet' };
  if (!textsIn(dig(certificate, 'spec', 'dnsNames')).includes(ref.host))
    return { state: 'waiting', seen: `the Certificate is not for ${ref.host} yet` };
  return isUpToDate(certificate) ? { state: 'ready' } : underWay(objects, certificate);
}

/** What comes of the attempt that a Certificate makes; one that is to be renewed is Ready all the while. */
export function underWay(
  objects: readonly KubeObject[],
  certificate: KubeObject,
): Exclude<Issuance, { state: 'ready' }> {
  const { name, namespace } = certificate.metadata;
  const requests = ofKind(objects, REQUEST, namespace).filter(
    (each) => each.metadata.annotations?.['cert-manager.io/certificate-name'] === name && isOwned(each, certificate),
  );
  const request = requests.sort((a, b) => revisionOf(b) - revisionOf(a))[0];
  const order = ofKind(objects, ORDER, namespace).find((each) => isOwned(each, request));
  const challenges = ofKind(objects, CHALLENGE, namespace).filter((each) => isOwned(each, order));
  const said = [
    ...challenges.flatMap(saidByChallenge),
    ...saidByOrder(order),
    ...saidByRequest(request),
    ...saidByCertificate(certificate),
  ];
  const seen = said[0] ?? 'cert-manager has not started yet';
  const known = causeOf(seen);
  if (known?.stuck || hasFailed(certificate, request, order))
    return { state: 'stuck', seen, cause: known?.cause, fix: known?.fix };
  return { state: 'waiting', seen };
}

/**
 * Looks again and again for a condition's wait. What a Challenge said is remembered: it goes when its Order has failed,
 * and the Order often does not say why.
 * @returns undefined once the certificate is issued, or what is seen instead
 */
export function issuanceLook(ref: CertificateRef, kube: KubeReader): () => Promise<string | undefined> {
  let challenge: string | undefined;
  return async () => {
    const answer = await kube.survey(ISSUANCE_KINDS);
    if (!answer.ok) return answer.reason;
    const issuance = issuanceOf(answer.value, ref);
    if (issuance.state === 'ready') return undefined;
    if (issuance.seen.startsWith('Challenge')) challenge = issuance.seen;
    if (issuance.state === 'waiting') return issuance.seen;
    const seen = challenge ?? issuance.seen;
    const { cause = seen, fix = 'correct that, and run it again' } = causeOf(seen) ?? issuance;
    throw new HomelabError(`the certificate ${ref.namespace}/${ref.name} is not issued`, { cause, fix, output: seen });
  };
}

/**
 * The error of a wait that came to its deadline, with what was seen last explained, and what only events tell: that
 * no solver is for a name, or that a Certificate belongs to another Ingress.
 */
export async function withIssuanceCause(
  error: unknown,
  { namespace }: CertificateRef,
  kube: KubeReader,
): Promise<unknown> {
  if (!(error instanceof DeadlineError)) return error;
  const events = await kube.list('v1', 'Event', namespace).catch((): KubeObject[] => []);
  const warned = events.filter(
    ({ type, involvedObject }) => type === 'Warning' && ABOUT.includes(String(dig(involvedObject, 'kind'))),
  );
  const output = [...new Set(warned.map(({ message }) => oneLine(String(message))))].slice(-5).join('\n');
  const known = causeOf(error.likelyCause ?? '') ?? causeOf(output);
  const cause = [known?.cause, error.likelyCause].filter(Boolean).join('; ');
  return new HomelabError(error.message, { cause, fix: known?.fix, output: output || undefined });
}

const ABOUT = ['Ingress', 'Certificate', 'CertificateRequest', 'Order', 'Challenge'];

/** Ready, and not just because what changed was not looked at yet. */
function isUpToDate(certificate: KubeObject): boolean {
  const seen = Number(conditionOf(certificate, 'Ready')?.observedGeneration ?? Number.POSITIVE_INFINITY);
  return isReady(certificate) && seen >= Number(certificate.metadata.generation ?? 0);
}

function revisionOf({ metadata }: KubeObject): number {
  return Number(metadata.annotations?.['cert-manager.io/certificate-revision'] ?? 0);
}

function isOwned({ metadata }: KubeObject, owner: KubeObject | undefined): boolean {
  const owners = metadata.ownerReferences;
  // What was made for a Certificate that was deleted has its name too, and stays for a moment.
  const sameUid = (each: unknown): boolean => dig(each, 'uid') === owner?.metadata.uid;
  return (
    owner !== undefined &&
    Array.isArray(owners) &&
    owners.some(
      (each) => dig(each, 'kind') === owner.kind && dig(each, 'name') === owner.metadata.name && sameUid(each),
    )
  );
}

function saidByChallenge({ spec, status }: KubeObject): string[] {
  const reason = textOf(dig(status, 'reason'));
  if (!reason || dig(status, 'state') === 'valid') return [];
  return [`Challenge for ${dig(spec, 'dnsName')}: ${oneLine(reason)}`];
}

function saidByOrder(order: KubeObject | undefined): string[] {
  const state = textOf(dig(order, 'status', 'state'));
  if (!state || state === 'valid') return [];
  const reason = textOf(dig(order, 'status', 'reason'));
  // "pending" alone says less than the request does.
  if (!reason && !FAILED.includes(state)) return [];
  return [`Order is ${state}${reason ? `: ${oneLine(reason)}` : ''}`];
}

function saidByRequest(request: KubeObject | undefined): string[] {
  const denied = conditionOf(request, 'Denied');
  if (denied?.status === 'True') return [`CertificateRequest is denied: ${denied.message ?? ''}`];
  const message = textOf(conditionOf(request, 'Ready')?.message);
  return message ? [`CertificateRequest: ${oneLine(message)}`] : [];
}

function saidByCertificate(certificate: KubeObject): string[] {
  return ['Issuing', 'Ready'].flatMap((type) => {
    const message = textOf(conditionOf(certificate, type)?.message);
    return message ? [`Certificate: ${oneLine(message)}`] : [];
  });
}

/** Final states of an Order; cert-manager then waits for an hour, and twice as long the next time. */
const FAILED = ['invalid', 'errored', 'expired'];

function hasFailed(certificate: KubeObject, request: KubeObject | undefined, order: KubeObject | undefined): boolean {
  const goesOn = conditionOf(certificate, 'Issuing')?.status === 'True';
  return (
    FAILED.includes(String(dig(order, 'status', 'state'))) ||
    conditionOf(request, 'Ready')?.reason === 'Failed' ||
    conditionOf(request, 'Denied')?.status === 'True' ||
    (!goesOn && textOf(dig(certificate, 'status', 'lastFailureTime')) !== undefined)
  );
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim();
}
