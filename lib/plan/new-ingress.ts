import { UsageError } from '../errors.ts';
import type { Issuance } from '../issuance.ts';
import { titleOf } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { callOf, type IngressCall, ingressObject, ingressYaml } from '../render/ingress.ts';
import { objectsOf } from '../render/manifests.ts';
import type { KubeObject, Note, Plan, Step } from '../step.ts';
import { CLUSTER, type Placed } from './convention-problem.ts';
import { claimsOf, isInside, routerProblems } from './conventions-ingress.ts';
import { hostProblem, isDnsLabel } from './host-name.ts';
import { planApply } from './new-ingress-apply.ts';

export type NewIngressArgs = {
  name: string;
  host: string;
  service: string;
  port: string;
  namespace?: string;
  apply: boolean;
  force: boolean;
  probe: string;
};

export type NewIngressSeen = {
  /** The application's ingress.yaml as it is. */
  text?: string;
  /** What else stands under applications/. */
  applications: Placed[];
  /** Files there that do not parse, with the reason. */
  unreadable: { file: string; reason: string }[];
  cluster: { ok: true; value: ClusterSeen } | { ok: false; reason: string };
};

export type ClusterSeen = {
  ingresses: KubeObject[];
  /** Of the application's namespace. */
  services: KubeObject[];
  middleware: boolean;
  issuer?: KubeObject;
  certificate?: KubeObject;
  /** How far the certificate has come. */
  issuance: Issuance;
};

/**
 * What a call asks for.
 * @throws UsageError with everything that is wrong with it
 */
export function readCall({ name, host, service, port, namespace = name, probe }: NewIngressArgs): IngressCall {
  const problems: string[] = [];
  const needLabel = (place: string, text: string): void => {
    if (!isDnsLabel(text))
      problems.push(`${place} "${text}" is not a DNS label; use lower-case letters, digits and "-" (at most 63)`);
  };
  needLabel('NAME', name);
  needLabel('--service', service);
  if (namespace !== name) needLabel('--namespace', namespace);
  const wrong = hostProblem(host);
  if (wrong) problems.push(`--host ${wrong.message}; ${wrong.fix}`);
  if (!/^[1-9]\d{0,4}$/.test(port) || Number(port) > 65535)
    problems.push(`--port "${port}" is not a port; give the Service's port by its number, 1 to 65535`);
  if (!/^\/[!-~]*$/.test(probe)) problems.push(`--probe "${probe}" is not a path; it starts with "/"`);
  if (problems.length > 0) throw new UsageError(problems.join('\n'));
  return { name, namespace, host, service, port: Number(port) };
}

/** Where an application's ingress stands, below applications/. */
export function ingressFile(name: string): string {
  return `${name}/ingress.yaml`;
}

/** The file, and with --apply the Ingress and its certificate. */
export function planNewIngress(lab: Pick<Lab, 'config' | 'paths'>, seen: NewIngressSeen, args: NewIngressArgs): Plan {
  const { ingress: convention, domain } = lab.config;
  const call = readCall(args);
  const wanted = ingressObject(call, convention);
  const notes: Note[] = [];
  const warn = (text: string, fix?: string): void => void notes.push({ level: 'warning', text, fix });

  if (!isInside(call.host, domain))
    warn(`${call.host} is outside ${domain}`, `${convention.issuer} proves names of that domain only`);
  for (const { file, reason } of seen.unreadable) warn(`${file} could not be read and was not compared: ${reason}`);
  if (!seen.cluster.ok && !args.apply)
    warn(`the cluster was not asked whether ${call.host} is free: ${seen.cluster.reason}`);
  notes.push(...claimNotes(wanted, seen));

  const file = `${lab.paths.applications}/${ingressFile(call.name)}`;
  const steps: Step[] = [];
  const why = whyWrite(seen.text, call, ingressYaml(call, convention), args.force);
  if (why && 'blocker' in why)
    notes.push({
      level: 'blocker',
      text: `${file} ${why.blocker}`,
      fix: 'move the edits elsewhere, or overwrite them with --force',
    });
  else if (why)
    steps.push({
      id: 'file',
      title: `write applications/${ingressFile(call.name)}`,
      why: why.reason,
      action: { kind: 'write', path: file, content: ingressYaml(call, convention) },
    });
  if (!args.apply) return { steps, notes };
  const inCluster = planApply(call, wanted, seen, convention, steps.length > 0);
  return { steps: [...steps, ...inCluster.steps], notes: [...notes, ...inCluster.notes] };
}

/** Why the file must be written, or why it must not be; undefined when it is as it should be. */
function whyWrite(
  text: string | undefined,
  call: IngressCall,
  wanted: string,
  force: boolean,
): { reason: string } | { blocker: string } | undefined {
  if (text === undefined) return { reason: 'absent' };
  if (text === wanted) return undefined;
  const before = callOf(text);
  if (before) {
    const changed = (['namespace', 'host', 'service', 'port'] as const).filter((key) => before[key] !== call[key]);
    const each = changed.map((key) => `${key} was ${before[key]}`);
    return { reason: each.join(', ') || "homelab.yaml's convention has changed" };
  }
  if (force) return { reason: 'edited by hand; --force' };
  const [worse] = objectsOf(text).objects.flatMap(routerProblems);
  return { blocker: `was edited by hand${worse ? `, and ${worse.message}` : ''}` };
}

/** Hosts and secret names that somebody else has. */
function claimNotes(wanted: KubeObject, { applications, cluster }: NewIngressSeen): Note[] {
  const inFiles = applications.filter(({ object }) => object.kind === 'Ingress');
  const live = cluster.ok ? cluster.value.ingresses.map((object) => ({ place: CLUSTER, object })) : [];
  const known = new Set(inFiles.map(({ object }) => titleOf(object)));
  const others = [...inFiles, ...live.filter(({ object }) => !known.has(titleOf(object)))];
  const claims = claimsOf(wanted);
  return others
    .filter(({ place, object }) => place !== CLUSTER || titleOf(object) !== titleOf(wanted))
    .flatMap(({ place, object }) =>
      claimsOf(object)
        .filter((claim) => claims.includes(claim))
        .map(
          (claim): Note => ({
            level: 'blocker',
            text: `${claim} is already claimed by ${titleOf(object)} (${place})`,
            fix: claim.startsWith('host') ? 'give another --host, or remove that one' : 'give another NAME',
          }),
        ),
    );
}
