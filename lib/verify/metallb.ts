import { randomBytes } from 'node:crypto';
import { lastSeen } from '../deadline.ts';
import { HomelabError, messageOf } from '../errors.ts';
import { loadBalancerAddress, ofKind } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { inUrl, sizeOf } from '../ledger/ip.ts';
import { dig, mapsIn, textOf } from '../loose.ts';
import { refusals } from '../observe/metallb.ts';
import { isExhausted, isInPool, rangeOf } from '../plan/metallb-seen.ts';
import type { Ports } from '../ports/types.ts';
import { ANNOUNCEMENT, CONFIGURATION, METALLB } from '../render/metallb.ts';
import { PROOF_NAMESPACE, PROOF_SERVICE, proofObjects } from '../render/metallb-proof.ts';
import type { KubeObject, Proof } from '../step.ts';

type VerifyPorts = Pick<Ports, 'kube' | 'net' | 'clock'>;

/** Seconds. The image has to be pulled before anything answers. */
const UNTIL_GIVEN = 60;
const UNTIL_ANSWERED = 180;
const UNTIL_ANNOUNCED = 20;

/**
 * A Service of type LoadBalancer gets an address of the pool, and answers from here: from outside of the cluster. A
 * ping would prove nothing, and neither does a node that reaches it.
 */
export async function verifyMetallb(lab: Lab, ports: VerifyPorts): Promise<Proof[]> {
  const claim = `a LoadBalancer gets an address of ${lab.config.metallb.pool}`;
  const remove = (): Promise<void> =>
    ports.kube.delete([{ apiVersion: 'v1', kind: 'Namespace', name: PROOF_NAMESPACE }], 120);
  try {
    await remove();
    const full = await exhausted(lab, ports);
    if (full) return [{ claim, ok: false, detail: full }];
    await ports.kube.apply(proofObjects());
    return await proveAddress(claim, lab, ports);
  } catch (error) {
    return [{ claim, ok: false, detail: said(error) }];
  } finally {
    await remove();
  }
}

async function proveAddress(claim: string, lab: Lab, ports: VerifyPorts): Promise<Proof[]> {
  const { kube, clock } = ports;
  const look = async (): Promise<string | undefined> => loadBalancerAddress(await kube.get(PROOF_SERVICE));
  const address = await lastSeen(UNTIL_GIVEN, look, Boolean, { clock });
  if (!address) return [{ claim, ok: false, detail: await whyNone(lab, ports) }];
  if (!isInPool(lab.config.metallb.pool, address))
    return [{ claim, ok: false, detail: `${address} is not of it: who else gives addresses to Services?` }];
  const answer = await answers(address, ports);
  const announced = await announcers(ports, answer.ok ? UNTIL_ANNOUNCED : 0);
  const given: Proof = { claim, ok: true, detail: address };
  if (!answer.ok) {
    const by = announced === 'unknown' ? '' : `; announced by ${announced.join(', ') || 'no node'}`;
    return [given, { ...answer, detail: `${answer.detail}${by}` }];
  }
  return [given, answer, proofOfAnnouncement(announced)];
}

/** Whether our own web server answers at the address: a stranger who has it too would answer something else. */
async function answers(address: string, { net, clock }: VerifyPorts): Promise<Proof> {
  const message = `homelab-proof-${randomBytes(4).toString('hex')}`;
  const url = `http://${inUrl(address)}/`;
  const claim = 'it answers HTTP from outside of the cluster';
  const look = async (): Promise<{ ok: boolean; detail: string }> => {
    const answer = await net.http(`${url}echo?msg=${message}`, { address, deadline: 5 });
    if (!answer.ok) return { ok: false, detail: answer.reason };
    const { status, body } = answer.value;
    if (status !== 200) return { ok: false, detail: `HTTP ${status}` };
    return body.trim() === message
      ? { ok: true, detail: `${url} → 200` }
      : { ok: false, detail: `${url} → 200, but of another web server: a machine on the network has ${address} too` };
  };
  const seen = await lastSeen(UNTIL_ANSWERED, look, ({ ok }) => ok, { clock });
  return { claim, ...seen, detail: seen.ok ? seen.detail : `not within ${UNTIL_ANSWERED} s: ${seen.detail}` };
}

/** "k3s-cp-01 (eth0)" for each that announces the Service; 'unknown' where this MetalLB does not say. */
async function announcers({ kube, clock }: VerifyPorts, seconds: number): Promise<string[] | 'unknown'> {
  const look = async (): Promise<string[]> => {
    const all = await kube.list(ANNOUNCEMENT.apiVersion, ANNOUNCEMENT.kind, METALLB);
    const own = all.filter(
      ({ status }) =>
        dig(status, 'serviceName') === PROOF_SERVICE.name && dig(status, 'serviceNamespace') === PROOF_NAMESPACE,
    );
    return own.map(({ status }) => {
      const cards = mapsIn(dig(status, 'interfaces')).flatMap(({ name }) => textOf(name) ?? []);
      return `${dig(status, 'node')}${cards.length > 0 ? ` (${cards.join(', ')})` : ''}`;
    });
  };
  const found = await lastSeen(seconds, look, (names) => names.length > 0, { clock });
  if (found.length > 0) return found;
  const name = 'servicel2statuses.metallb.io';
  const known = await kube.get({ apiVersion: 'apiextensions.k8s.io/v1', kind: 'CustomResourceDefinition', name });
  return known ? [] : 'unknown';
}

function proofOfAnnouncement(announced: string[] | 'unknown'): Proof {
  const claim = 'a speaker announces it';
  if (announced === 'unknown')
    return { claim, ok: false, skipped: true, detail: 'this version of MetalLB does not say who does' };
  return announced.length > 0
    ? { claim, ok: true, detail: announced.join(', ') }
    : { claim, ok: false, detail: 'none does, though it answers' };
}

/** Said before anything is applied: waiting for an address would take a minute, and end the same. */
async function exhausted(lab: Lab, { kube }: VerifyPorts): Promise<string | undefined> {
  const { pool } = lab.config.metallb;
  if (!isExhausted(pool, await kube.list('v1', 'Service'))) return undefined;
  return `the pool is exhausted: all ${sizeOf(rangeOf(pool))} addresses are in use; widen metallb.pool`;
}

/** Why no address was given: what MetalLB said in an event, or that it does not take its configuration. */
async function whyNone(lab: Lab, ports: VerifyPorts): Promise<string> {
  const full = await exhausted(lab, ports);
  if (full) return full;
  const event = { apiVersion: 'v1', kind: 'Event' };
  const seen = await ports.kube.survey([event, CONFIGURATION]);
  const objects: KubeObject[] = seen.ok ? seen.value : [];
  const warned = ofKind(objects, event, PROOF_NAMESPACE).filter(({ type }) => type === 'Warning');
  const words = [...refusals(objects), ...warned.map(({ message }) => String(message))];
  return [`none within ${UNTIL_GIVEN} s`, ...words].join(': ');
}

function said(error: unknown): string {
  const cause = error instanceof HomelabError && error.likelyCause ? `; ${error.likelyCause}` : '';
  return `${messageOf(error)}${cause}`;
}
