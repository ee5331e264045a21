import type { Config, Nas, NasExport } from '../config/schema.ts';
import type { KubeObject } from '../step.ts';
import type { Chart } from './helm-chart.ts';

export type StorageClassConfig = Config['storage_classes'][number];

export const CSI_DRIVER_NFS = 'csi-driver-nfs';
export const CSI_WORKLOADS = ['csi-nfs-controller', 'csi-nfs-node'];
export const IS_DEFAULT = 'storageclass.kubernetes.io/is-default-class';

/** The chart of csi-driver-nfs, in kube-system as its own documents have it. */
export function csiDriverChart(version: string): Chart {
  return {
    name: CSI_DRIVER_NFS,
    chart: CSI_DRIVER_NFS,
    repo: 'https://raw.githubusercontent.com/kubernetes-csi/csi-driver-nfs/master/charts',
    version,
    namespace: 'kube-system',
    values: {},
  };
}

/**
 * A StorageClass whose claims become folders of an export. What was written stays when a claim goes: the
 * volume (Retain) and its folder (onDelete).
 */
export function nfsStorageClass(storageClass: StorageClassConfig, nas: Nas, { path }: NasExport): KubeObject {
  return {
    apiVersion: 'storage.k8s.io/v1',
    kind: 'StorageClass',
    metadata: { name: storageClass.name, annotations: { [IS_DEFAULT]: String(storageClass.default) } },
    provisioner: 'nfs.csi.k8s.io',
    parameters: { server: nas.address, share: path, subDir: subDir(storageClass.path), onDelete: 'retain' },
    mountOptions: mountOptions(nas),
    reclaimPolicy: 'Retain',
    volumeBindingMode: 'Immediate',
  };
}

/** How a node mounts a NAS. */
export function mountOptions({ nfs_version }: Pick<Nas, 'nfs_version'>): string[] {
  return [`nfsvers=${nfs_version}`, 'hard', 'noatime'];
}

/** Words of storage_classes[].path, and the driver's own for the same. */
const PLACEHOLDERS: Record<string, string> = {
  '{namespace}': '${pvc.metadata.namespace}',
  '{pvc-name}': '${pvc.metadata.name}',
  '{pv-name}': '${pv.metadata.name}',
};

/** homelab.yaml's `{namespace}-{pvc-name}` as csi-driver-nfs has it. */
export function subDir(path: string): string {
  return path.replaceAll(/\{[^}]*\}/g, (word) => PLACEHOLDERS[word] ?? word);
}

/** What is in braces and unknown. */
export function unknownPlaceholders(path: string): string[] {
  return (path.match(/\{[^}]*\}/g) ?? []).filter((word) => !(word in PLACEHOLDERS));
}

/** The folder of a claim, relative to the export. `volume` is the name of its PersistentVolume. */
export function folderOf(path: string, claim: { namespace: string; name: string }, volume = ''): string {
  const values: Record<string, string> = {
    '{namespace}': claim.namespace,
    '{pvc-name}': claim.name,
    '{pv-name}': volume,
  };
  return path.replaceAll(/\{[^}]*\}/g, (word) => values[word] ?? word);
}
