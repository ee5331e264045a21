import { messageOf } from '../errors.ts';
import { refOf } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import { EXCLUDED, type SeenMetallb } from '../plan/metallb.ts';
import type { KubeReader, Readers, SshReader } from '../ports/types.ts';
import { CONFIG_FILE } from '../render/k3s-config.ts';
import { METALLB, METALLB_WORKLOADS, metallbNamespace } from '../render/metallb.ts';
import { observeChart } from './chart.ts';

/** What of MetalLB is in the cluster, and what would get in its way. */
export async function observeMetallb(lab: Lab, { kube, ssh }: Readers): Promise<SeenMetallb> {
  const answer = await kube.reachable();
  if (!answer.ok) return { answers: false, reason: answer.reason };
  try {
    return await look(lab, kube, ssh);
  } catch (error) {
    return { answers: false, reason: messageOf(error) };
  }
}

async function look(lab: Lab, kube: KubeReader, ssh: SshReader): Promise<SeenMetallb> {
  const wanted = lab.config.name;
  const [namespace, chart, pools, advertisements, system, nodes, servicelbOn] = await Promise.all([
    kube.get(refOf(metallbNamespace())),
    observeChart(kube, 'metallb', METALLB, METALLB_WORKLOADS),
    kube.list('metallb.io/v1beta1', 'IPAddressPool', METALLB),
    kube.list('metallb.io/v1beta1', 'L2Advertisement', METALLB),
    kube.list('apps/v1', 'DaemonSet', 'kube-system'),
    kube.list('v1', 'Node'),
    withServicelb(lab, ssh),
  ]);
  return {
    answers: true,
    namespace,
    chart,
    pool: pools.find(({ metadata }) => metadata.name === wanted),
    advertisement: advertisements.find(({ metadata }) => metadata.name === wanted),
    otherPools: pools.filter(({ metadata }) => metadata.name !== wanted),
    servicelbOn,
    servicelbSets: system.map(({ metadata }) => metadata.name).filter((name) => name.startsWith('svclb-')),
    excluded: nodes.filter(({ metadata }) => EXCLUDED in (metadata.labels ?? {})).map(({ metadata }) => metadata.name),
  };
}

/** Servers that would start servicelb. Those that cannot be asked are not among them: install-k3s reports these. */
async function withServicelb(lab: Lab, ssh: SshReader): Promise<string[]> {
  const found = await Promise.all(
    servers(lab.config).map(async ({ name }) => {
      const answer = await ssh.read(name, ['grep', '-q', 'servicelb', CONFIG_FILE], { sudo: true, deadline: 30 });
      return answer.ok && answer.value.code !== 0 ? [name] : [];
    }),
  );
  return found.flat();
}
