import { join } from 'node:path';
import { messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import type { Placed } from '../plan/convention-problem.ts';
import {
  type ClusterSeen,
  ingressFile,
  type NewIngressArgs,
  type NewIngressSeen,
  readCall,
} from '../plan/new-ingress.ts';
import type { Answer, FilesReader, KubeReader, Readers } from '../ports/types.ts';
import { type IngressCall, middlewareRef, secretNameOf } from '../render/ingress.ts';
import { objectsOf } from '../render/manifests.ts';

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

export type ApplicationFile = {
  path: string;
  /** The path as a person names it: "applications/my-app/ingress.yaml". */
  place: string;
  text: string;
  objects: Placed['object'][];
  problem?: string;
};

/** How deep applications/ is read: an application's folder, and overlays in it. */
const DEPTH = 4;

/** Every YAML file under applications/, with the objects that it holds. */
export async function readApplications(folder: string, files: FilesReader): Promise<ApplicationFile[]> {
  const found: ApplicationFile[] = [];
  const walk = async (at: string, place: string, depth: number): Promise<void> => {
    for (const name of await files.list(at)) {
      if (name.startsWith('.')) continue;
      if (/\.ya?ml$/.test(name)) {
        const text = (await files.text(join(at, name))) ?? '';
        found.push({ path: join(at, name), place: `${place}/${name}`, text, ...objectsOf(text) });
      } else if (depth > 1) await walk(join(at, name), `${place}/${name}`, depth - 1);
    }
  };
  await walk(folder, 'applications', DEPTH);
  return found;
}

async function observeCluster({ config }: Lab, kube: KubeReader, call: IngressCall): Promise<Answer<ClusterSeen>> {
  const reachable = await kube.reachable();
  if (!reachable.ok) return reachable;
  const { namespace } = call;
  const { issuer, middleware } = config.ingress;
  const certManager = 'cert-manager.io/v1';
  try {
    const [ingresses, services, redirect, clusterIssuer, certificate] = await Promise.all([
      kube.list('networking.k8s.io/v1', 'Ingress'),
      kube.list('v1', 'Service', namespace),
      kube.get({ apiVersion: 'traefik.io/v1alpha1', kind: 'Middleware', ...middlewareRef(middleware) }),
      kube.get({ apiVersion: certManager, kind: 'ClusterIssuer', name: issuer }),
      kube.get({ apiVersion: certManager, kind: 'Certificate', name: secretNameOf(call.name), namespace }),
    ]);
    return {
      ok: true,
      value: { ingresses, services, middleware: redirect !== undefined, issuer: clusterIssuer, certificate },
    };
  } catch (error) {
    return { ok: false, reason: messageOf(error) };
  }
}
