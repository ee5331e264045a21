import type { KubeRef } from '../ports/types.ts';
import type { KubeObject } from '../step.ts';
import { WITNESS } from './nfs-errand.ts';

export const CLAIM = 'claim';
/** Where the cluster has no image of its own for such things. */
const IMAGE = 'registry.k8s.io/e2e-test-images/agnhost:2.53';

/** The smallest claim of a class. */
export function claimObject(storageClassName: string, namespace: string): KubeObject {
  return {
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: CLAIM, namespace },
    spec: { storageClassName, accessModes: ['ReadWriteMany'], resources: { requests: { storage: '1Mi' } } },
  };
}

/** A pod that writes `text` into the claim, and ends. */
export function podObject(namespace: string, text: string, image = IMAGE): KubeObject {
  const { apiVersion, kind, ...metadata } = podRef(namespace);
  const container = {
    name: 'writer',
    image,
    command: ['sh', '-c', `echo "$TEXT" > /claim/${WITNESS}`],
    env: [{ name: 'TEXT', value: text }],
    volumeMounts: [{ name: CLAIM, mountPath: '/claim' }],
    resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } },
  };
  return {
    apiVersion,
    kind,
    metadata,
    spec: {
      restartPolicy: 'Never',
      terminationGracePeriodSeconds: 1,
      automountServiceAccountToken: false,
      containers: [container],
      volumes: [{ name: CLAIM, persistentVolumeClaim: { claimName: CLAIM } }],
    },
  };
}

export function podRef(namespace: string): KubeRef & { namespace: string } {
  return { apiVersion: 'v1', kind: 'Pod', name: 'writer', namespace };
}
