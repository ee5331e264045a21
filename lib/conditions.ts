import { until } from './deadline.ts';
import { chartInstalled, withHelmLog } from './helm.ts';
import { issuanceLook, withIssuanceCause } from './issuance.ts';
import { isRolledOut, nameOf } from './kube-object.ts';
import { at } from './loose.ts';
import type { Ports as AllPorts } from './ports/types.ts';
import type { Condition, KubeObject } from './step.ts';

/** What waiting needs of the world. */
type Ports = Pick<AllPorts, 'ssh' | 'kube' | 'clock'>;

/**
 * Waits until `condition` is met.
 * @param onSeen told what is seen instead, each time that it changes
 * @throws DeadlineError with what was seen last
 */
export async function meet(
  condition: Condition,
  deadline: number,
  ports: Ports,
  onSeen?: (seen: string) => void,
): Promise<void> {
  try {
    await until(deadline, describe(condition), lookAt(condition, ports), { sleep: ports.clock.sleep, onSeen });
  } catch (error) {
    if ('chart' in condition) throw await withHelmLog(error, condition.chart.name, ports.kube);
    if ('certificate' in condition) throw await withIssuanceCause(error, condition.certificate, ports.kube);
    throw error;
  }
}

type Look = { done: true; value: undefined } | { done: false; seen: string };
const met: Look = { done: true, value: undefined };

/** What is asked again and again. */
function lookAt(condition: Condition, ports: Ports): () => Promise<Look> {
  if (!('certificate' in condition)) return () => look(condition, ports);
  const issued = issuanceLook(condition.certificate, ports.kube);
  return async () => {
    const seen = await issued();
    return seen === undefined ? met : { done: false, seen };
  };
}

async function look(condition: Exclude<Condition, { certificate: unknown }>, ports: Ports): Promise<Look> {
  if ('ssh' in condition) {
    const answer = await ports.ssh.reachable(condition.ssh);
    return answer.ok ? met : { done: false, seen: answer.reason };
  }
  if ('host' in condition) {
    const answer = await ports.ssh.read(condition.host, condition.argv, { sudo: condition.sudo });
    if (!answer.ok) return { done: false, seen: answer.reason };
    const { code, stdout, stderr } = answer.value;
    return code === 0
      ? met
      : { done: false, seen: `exit code ${code}: ${(stderr || stdout).trim().split('\n').at(-1) ?? ''}` };
  }
  if ('kube' in condition) {
    const object = await ports.kube.get(condition.kube).catch((error: Error) => error);
    if (object instanceof Error) return { done: false, seen: object.message };
    if (!object) return { done: false, seen: `${condition.kube.kind} ${condition.kube.name} is not there` };
    const value = at(object, condition.path);
    const good = condition.equals === undefined ? value !== undefined : value === condition.equals;
    return good
      ? met
      : { done: false, seen: `${condition.path} is ${JSON.stringify(value)}${because(object, condition.path)}` };
  }
  if ('chart' in condition) {
    const seen = await chartInstalled(condition.chart, ports.kube);
    return seen === undefined ? met : { done: false, seen };
  }
  return rollout(condition.rollout, ports);
}

/** What a condition's controller says beside its status: " (ErrRegisterACMEAccount: no such host)". */
function because(object: KubeObject, path: string): string {
  const condition = /\[\w+\]\.status$/.test(path) ? path.replace(/\.status$/, '') : undefined;
  if (!condition) return '';
  const said = ['reason', 'message'].map((key) => at(object, `${condition}.${key}`)).filter(Boolean);
  return said.length > 0 ? ` (${said.join(': ')})` : '';
}

/** Deployments, DaemonSets and StatefulSets whose newest generation is ready everywhere. */
async function rollout({ namespace, names }: { namespace: string; names?: string[] }, ports: Ports): Promise<Look> {
  const kinds = ['Deployment', 'DaemonSet', 'StatefulSet'];
  const all = await Promise.all(kinds.map((kind) => ports.kube.list('apps/v1', kind, namespace))).catch(
    (error: Error) => error,
  );
  if (all instanceof Error) return { done: false, seen: all.message };
  const workloads = all.flat().filter((w) => !names || names.includes(w.metadata.name));
  const missing = (names ?? []).filter((name) => !workloads.some((w) => w.metadata.name === name));
  if (missing.length > 0 || workloads.length === 0)
    return { done: false, seen: `not there: ${missing.join(', ') || `any workload in ${namespace}`}` };
  const unready = workloads.filter((w) => !isRolledOut(w));
  return unready.length === 0
    ? met
    : { done: false, seen: `not ready: ${unready.map((w) => `${w.kind} ${w.metadata.name}`).join(', ')}` };
}

function describe(condition: Condition): string {
  if ('ssh' in condition) return `${condition.ssh} answers by SSH`;
  if ('host' in condition) return `${condition.argv.join(' ')} succeeds on ${condition.host}`;
  if ('kube' in condition) {
    return `${nameOf(condition.kube)}: ${condition.path}${condition.equals === undefined ? ' is set' : ` = ${condition.equals}`}`;
  }
  if ('certificate' in condition)
    return `${nameOf({ kind: 'Certificate', ...condition.certificate })} for ${condition.certificate.host}`;
  if ('chart' in condition) return `helm installs ${condition.chart.name} ${condition.chart.version}`;
  return `all of ${condition.rollout.names?.join(', ') ?? condition.rollout.namespace} rolled out`;
}
