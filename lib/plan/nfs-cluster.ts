import type { Config } from '../config/schema.ts';
import { findExport } from '../lookup.ts';
import { isMap } from '../loose.ts';
import {
  CSI_WORKLOADS,
  csiDriverChart,
  IS_DEFAULT,
  nfsStorageClass,
  type StorageClassConfig,
  unknownPlaceholders,
} from '../render/nfs.ts';
import type { KubeObject, Note, Plan, Step } from '../step.ts';
import { chartSteps } from './chart-steps.ts';
import type { Placed } from './convention-problem.ts';
import { differences, needsApply } from './differences.ts';
import { claimsOf, collisions } from './nfs-collisions.ts';
import type { NfsClusterSeen } from './nfs-seen.ts';

/** The CSI driver, the StorageClasses, and which of them is the default. */
export function planStorageClasses(config: Config, seen: NfsClusterSeen, applications: readonly Placed[]): Plan {
  const network = config.storage_classes.filter((each) => each.export);
  const local = config.storage_classes.filter((each) => !each.export);
  const [version, ...others] = new Set(network.flatMap((each) => each.csi_driver_nfs ?? []));
  const notes = [
    ...network.flatMap(pathNotes),
    ...local.flatMap((each) => localNotes(each, seen.classes)),
    ...defaultNotes(config, seen.classes),
    ...collisionNotes(network, seen.claims, applications),
  ];
  if (others.length > 0)
    notes.push({
      level: 'blocker',
      text: `storage_classes: csi_driver_nfs is ${[version, ...others].join(' and ')}; one driver serves all of them`,
      fix: 'give one version',
    });
  if (network.length > 0 && version === undefined)
    notes.push({
      level: 'blocker',
      text: `storage_classes: csi_driver_nfs is missing`,
      fix: `add it to ${network[0]?.name}`,
    });

  const chart = version ? chartSteps(csiDriverChart(version), CSI_WORKLOADS, seen.chart) : { steps: [], last: [] };
  const steps = [
    ...chart.steps,
    ...network.flatMap((each) => {
      const found = findExport(config, each.export ?? '');
      return classSteps(nfsStorageClass(each, found.nas, found.export), seen.classes, chart.last);
    }),
    ...local.flatMap((each) => localSteps(each, seen.classes)),
  ];
  return { steps, notes };
}

/** What the API server does not let anyone change in a StorageClass. Volumes that exist keep what they have. */
const IMMUTABLE = ['provisioner', 'parameters', 'reclaimPolicy', 'volumeBindingMode'];

function classSteps(wanted: KubeObject, classes: readonly KubeObject[], after: string[]): Step[] {
  const { name } = wanted.metadata;
  const live = classes.find(({ metadata }) => metadata.name === name);
  const why = needsApply(wanted, live);
  const replaced = live && (mustReplace(wanted, live) || hasMore(wanted.parameters, live.parameters));
  if (!why && !replaced) return [];
  const apply: Step = {
    id: `class/${name}`,
    title: `apply StorageClass ${name}`,
    why: why ?? 'parameters differ',
    after: replaced ? [`class/${name}/old`] : after,
    action: { kind: 'kube', verb: 'apply', objects: [wanted], deadline: 60 },
  };
  if (!replaced) return [apply];
  const remove: Step = {
    id: `class/${name}/old`,
    title: `delete StorageClass ${name}, to make it anew (volumes stay as they are)`,
    why: apply.why,
    after,
    action: { kind: 'kube', verb: 'delete', objects: [wanted], deadline: 60 },
  };
  return [remove, apply];
}

function mustReplace(wanted: KubeObject, live: KubeObject): boolean {
  return differences(wanted, live).some((path) => IMMUTABLE.includes(path.split(/[.[]/)[0] ?? ''));
}

function hasMore(wanted: unknown, live: unknown): boolean {
  return isMap(wanted) && isMap(live) && Object.keys(live).some((key) => !(key in wanted));
}

/** K3s brings local-path, and makes it the default: ours is only whether it stays that, which is K3s's field until we take it. */
function localSteps({ name, default: isDefault }: StorageClassConfig, classes: readonly KubeObject[]): Step[] {
  const live = classes.find(({ metadata }) => metadata.name === name);
  if (!live || isDefaultClass(live) === isDefault) return [];
  return [
    {
      id: `class/${name}`,
      title: `make StorageClass ${name} ${isDefault ? 'the default' : 'no default'}`,
      why: isDefault ? 'it is not' : 'it is',
      action: {
        kind: 'kube',
        verb: 'apply',
        objects: [
          {
            apiVersion: 'storage.k8s.io/v1',
            kind: 'StorageClass',
            metadata: { name, annotations: { [IS_DEFAULT]: String(isDefault) } },
            provisioner: String(live.provisioner),
          },
        ],
        force: true,
        deadline: 60,
      },
    },
  ];
}

function localNotes({ name }: StorageClassConfig, classes: readonly KubeObject[]): Note[] {
  if (classes.length === 0 || classes.some(({ metadata }) => metadata.name === name)) return [];
  const text = `the cluster has no StorageClass ${name}`;
  return [{ level: 'warning', text, fix: 'K3s brings local-path unless local-storage is disabled' }];
}

/** Of two default classes the newer one wins: a claim without a class could go anywhere. */
function defaultNotes({ storage_classes }: Config, classes: readonly KubeObject[]): Note[] {
  return classes
    .filter((live) => isDefaultClass(live) && !storage_classes.some(({ name }) => name === live.metadata.name))
    .map(({ metadata: { name } }) => ({
      level: 'warning',
      text: `StorageClass ${name} is a default too, and homelab.yaml does not name it`,
      fix: `add it to storage_classes, or take ${IS_DEFAULT} from it`,
    }));
}

function pathNotes({ name, path }: StorageClassConfig): Note[] {
  return unknownPlaceholders(path).map((word) => ({
    level: 'blocker',
    text: `storage_classes: path of ${name} has ${word}, which is unknown`,
    fix: 'use {namespace}, {pvc-name}, {pv-name}',
  }));
}

/** Claims of the cluster, and those of applications/ that are not there yet. */
function collisionNotes(
  network: readonly StorageClassConfig[],
  live: readonly KubeObject[],
  applications: readonly Placed[],
): Note[] {
  return network.flatMap(({ name, path }) => {
    const claims = claimsOf(live, name).map((claim) => ({ ...claim, place: '' }));
    for (const { place, object } of applications)
      for (const claim of claimsOf([object], name))
        if (!claims.some((other) => other.namespace === claim.namespace && other.name === claim.name))
          claims.push({ ...claim, place: ` (${place})` });
    return collisions(path, claims).map(({ folder, claims: group }): Note => {
      const names = group.map((claim) => `${claim.namespace}/${claim.name}${claim.place}`);
      const text = `the claims ${names.join(' and ')} share the folder ${folder} of ${name}`;
      return { level: 'warning', text, fix: 'rename one of them before they overwrite each other' };
    });
  });
}

function isDefaultClass({ metadata }: KubeObject): boolean {
  return metadata.annotations?.[IS_DEFAULT] === 'true';
}
