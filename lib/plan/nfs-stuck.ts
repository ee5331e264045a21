import type { Config } from '../config/schema.ts';
import { dig, mapsIn, textOf } from '../loose.ts';
import type { KubeObject, Note } from '../step.ts';
import { reaches } from './nfs-reach.ts';
import type { NfsClusterSeen, NfsSeen } from './nfs-seen.ts';

/** Seconds after which a pod that starts, or ends, is stuck. A kubelet tries a mount again every two minutes at most. */
const STARTING = 300;
const ENDING = 120;

/** What an outage of a NAS has left behind: mounts that hang, and pods that neither start nor end because of them. */
export function stuckNotes(
  config: Config,
  { hosts, cluster, now }: Pick<NfsSeen, 'hosts' | 'cluster' | 'now'>,
): Note[] {
  const seen = cluster.ok ? cluster.value : undefined;
  return [...brokenNotes(config, hosts, seen?.pods ?? []), ...(seen ? podNotes(config, seen, now) : [])];
}

function brokenNotes(config: Config, hosts: NfsSeen['hosts'], pods: readonly KubeObject[]): Note[] {
  return Object.entries(hosts).flatMap(([host, answer]) => {
    if (!answer.ok) return [];
    return config.nas.flatMap((nas): Note[] => {
      // Where the NAS is away, that is what is said.
      if (!reaches(answer.value, nas)) return [];
      const broken = answer.value.broken.filter(({ source }) => source.startsWith(`${nas.address}:`));
      const [first] = broken;
      if (!first) return [];
      const owners = pods.filter(({ metadata }) => broken.some(({ target }) => target.includes(`/${metadata.uid}/`)));
      const others = broken.length > 1 ? ` and ${broken.length - 1} more` : '';
      return [
        {
          level: 'warning',
          text: `${host}: a mount of ${nas.name} hangs, though ${nas.name} answers: ${first.target} (${first.why})${others}`,
          fix: [`on ${host}: umount -l ${first.target}`, ...owners.map(deletion)].join('; '),
          host,
        },
      ];
    });
  });
}

function podNotes(config: Config, { pods, claims }: NfsClusterSeen, now: number): Note[] {
  const classes = new Set(config.storage_classes.filter((each) => each.export).map(({ name }) => name));
  const network = new Set(
    claims
      .filter((claim) => classes.has(String(dig(claim, 'spec', 'storageClassName'))))
      .map(({ metadata }) => `${metadata.namespace}/${metadata.name}`),
  );
  const uses = (pod: KubeObject): boolean =>
    mapsIn(dig(pod, 'spec', 'volumes')).some((volume) =>
      network.has(`${pod.metadata.namespace}/${textOf(dig(volume, 'persistentVolumeClaim', 'claimName'))}`),
    );
  return pods.filter(uses).flatMap((pod) => {
    const node = textOf(dig(pod, 'spec', 'nodeName'));
    const state = node && stuckState(pod, now);
    if (!state) return [];
    const text = `Pod ${pod.metadata.namespace}/${pod.metadata.name} on ${node} is stuck (${state}) with a volume on NFS`;
    // To delete by force what may still write would let a second one write beside it.
    const free =
      state === 'Terminating'
        ? `on ${node}: \`sudo sh -c 'umount -l /var/lib/kubelet/pods/${pod.metadata.uid}/volumes/*/*/mount'\`; then it ends by itself`
        : deletion(pod);
    return [{ level: 'warning', text, fix: `when its NAS answers: ${free}` }];
  });
}

/** What a pod is stuck in; undefined for one that is not. */
function stuckState({ metadata, status }: KubeObject, now: number): string | undefined {
  const older = (time: unknown, seconds: number): boolean =>
    typeof time === 'string' && now - Date.parse(time) > seconds * 1000;
  // When it was to be gone: its grace period is in it.
  if (metadata.deletionTimestamp) return older(metadata.deletionTimestamp, ENDING) ? 'Terminating' : undefined;
  if (dig(status, 'phase') !== 'Pending' || !older(dig(status, 'startTime'), STARTING)) return undefined;
  const containers = [...mapsIn(dig(status, 'initContainerStatuses')), ...mapsIn(dig(status, 'containerStatuses'))];
  const reasons = containers.map((container) => textOf(dig(container, 'state', 'waiting', 'reason')));
  return reasons.find((reason) => reason === 'ContainerCreating' || reason === 'PodInitializing');
}

function deletion({ metadata }: KubeObject): string {
  return `\`k3s kubectl delete pod -n ${metadata.namespace} ${metadata.name}\``;
}
