import { join } from 'node:path';
import { ISSUANCE_KINDS, issuanceOf } from '../issuance.ts';
import { findObject, ofKind, refOf } from '../kube-object.ts';
import type { Lab } from '../lab-context.ts';
import {
  type ClusterSeen,
  ingressFile,
  type NewIngressArgs,
  type NewIngressSeen,
  readCall,
} from '../plan/new-ingress.ts';
import { certificateRef } from '../plan/new-ingress-apply.ts';
import type { Answer, KubeReader, Readers } from '../ports/types.ts';
import { type IngressCall, middlewareObject, secretNameOf } from '../render/ingress.ts';
import { readApplications } from './applications.ts';

/** applications/ as it is, and what the cluster has of the application. */
export async function observeNewIngress(lab: Lab, readers: Readers, args: NewIngressArgs): Promise<NewIngressSeen> {
  const call = readCall(args);
  const own = join(lab.paths.applications, ingressFile(call.name));
  const [files, cluster] = await Promise.all([
    readApplications(lab.paths.applications, readers.files),
    observeCluster(lab, readers.kube, call),
  ]);
  const others = files.filter(({ path }) => path !== own);
  return {
    text: files.find(({ path }) => path === own)?.text,
    applications: others.flatMap(({ place, objects }) => objects.map((object) => ({ place, object }))),
    unreadable: others.flatMap(({ place, problem }) => (problem ? [{ file: place, reason: problem }] : [])),
    cluster,
  };
}

const INGRESS = { apiVersion: 'networking.k8s.io/v1', kind: 'Ingress' };
const SERVICE = { apiVersion: 'v1', kind: 'Service' };

async function observeCluster({ config }: Lab, kube: KubeReader, call: IngressCall): Promise<Answer<ClusterSeen>> {
  const { namespace } = call;
  const middleware = refOf(middlewareObject(config.ingress));
  const certManager = 'cert-manager.io/v1';
  const issuer = { apiVersion: certManager, kind: 'ClusterIssuer', name: config.ingress.issuer };
  const certificate = { apiVersion: certManager, kind: 'Certificate', name: secretNameOf(call.name), namespace };
  const answer = await kube.survey([INGRESS, SERVICE, middleware, issuer, ...ISSUANCE_KINDS]);
  if (!answer.ok) return answer;
  const objects = answer.value;
  return {
    ok: true,
    value: {
      ingresses: ofKind(objects, INGRESS),
      services: ofKind(objects, SERVICE, namespace),
      middleware: findObject(objects, middleware) !== undefined,
      issuer: findObject(objects, issuer),
      certificate: findObject(objects, certificate),
      issuance: issuanceOf(objects, certificateRef(call)),
    },
  };
}
