/** A kind that the API server knows. */
export type Kind = {
  group: string;
  version: string;
  kind: string;
  plural: string;
  namespaced: boolean;
  short: string[];
};

/** "apps/v1 Deployment dp" lines; `-` before the kind: not namespaced; `=plural` where it is not regular. */
const BUILT_IN = `
v1 -Namespace ns
v1 -Node no
v1 -PersistentVolume pv
v1 PersistentVolumeClaim pvc
v1 Pod po
v1 Service svc
v1 Secret
v1 ConfigMap cm
v1 ServiceAccount sa
v1 Event ev
v1 Endpoints=endpoints ep
v1 ResourceQuota quota
v1 LimitRange limits
apps/v1 Deployment deploy
apps/v1 DaemonSet ds
apps/v1 StatefulSet sts
apps/v1 ReplicaSet rs
batch/v1 Job
batch/v1 CronJob cj
autoscaling/v2 HorizontalPodAutoscaler hpa
discovery.k8s.io/v1 EndpointSlice
coordination.k8s.io/v1 Lease
node.k8s.io/v1 -RuntimeClass
policy/v1 PodDisruptionBudget pdb
scheduling.k8s.io/v1 -PriorityClass pc
networking.k8s.io/v1 Ingress ing
networking.k8s.io/v1 -IngressClass
networking.k8s.io/v1 NetworkPolicy netpol
storage.k8s.io/v1 -StorageClass sc
storage.k8s.io/v1 -CSIDriver
storage.k8s.io/v1 -CSINode
storage.k8s.io/v1 -VolumeAttachment
rbac.authorization.k8s.io/v1 Role
rbac.authorization.k8s.io/v1 RoleBinding
rbac.authorization.k8s.io/v1 -ClusterRole
rbac.authorization.k8s.io/v1 -ClusterRoleBinding
admissionregistration.k8s.io/v1 -ValidatingWebhookConfiguration
admissionregistration.k8s.io/v1 -MutatingWebhookConfiguration
apiextensions.k8s.io/v1 -CustomResourceDefinition crd
apiregistration.k8s.io/v1 -APIService
helm.cattle.io/v1 HelmChart
helm.cattle.io/v1 HelmChartConfig
k3s.cattle.io/v1 Addon
k3s.cattle.io/v1 -ETCDSnapshotFile
`;

/** Kinds that the charts' CustomResourceDefinitions bring. */
const TRAEFIK = `
traefik.io/v1alpha1 Middleware
traefik.io/v1alpha1 MiddlewareTCP
traefik.io/v1alpha1 IngressRoute
traefik.io/v1alpha1 IngressRouteTCP
traefik.io/v1alpha1 TLSOption
traefik.io/v1alpha1 TLSStore
traefik.io/v1alpha1 TraefikService
traefik.io/v1alpha1 ServersTransport
`;
const METALLB = `
metallb.io/v1beta1 IPAddressPool
metallb.io/v1beta1 L2Advertisement
metallb.io/v1beta1 BGPAdvertisement
metallb.io/v1beta2 BGPPeer
metallb.io/v1beta1 BFDProfile
metallb.io/v1beta1 Community=communities
metallb.io/v1beta1 ServiceL2Status=servicel2statuses
metallb.io/v1beta1 ConfigurationState
`;
const CERT_MANAGER = `
cert-manager.io/v1 Certificate cert
cert-manager.io/v1 CertificateRequest cr
cert-manager.io/v1 Issuer
cert-manager.io/v1 -ClusterIssuer
acme.cert-manager.io/v1 Order
acme.cert-manager.io/v1 Challenge
`;

export const builtInKinds = parse(BUILT_IN);
export const crdKinds = { traefik: parse(TRAEFIK), metallb: parse(METALLB), 'cert-manager': parse(CERT_MANAGER) };

export function apiVersionOf(kind: Kind): string {
  return kind.group ? `${kind.group}/${kind.version}` : kind.version;
}

/** "ingresses.networking.k8s.io", as in messages of the API server. */
export function resourceName(kind: Kind): string {
  return kind.group ? `${kind.plural}.${kind.group}` : kind.plural;
}

/** "ingress.networking.k8s.io", as kubectl prints it before a name. */
export function singularName(kind: Kind): string {
  return kind.group ? `${kind.kind.toLowerCase()}.${kind.group}` : kind.kind.toLowerCase();
}

/** The object that says that a kind exists. */
export function definitionOf(kind: Kind): {
  apiVersion: string;
  kind: string;
  metadata: { name: string };
  spec: Record<string, unknown>;
} {
  return {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: { name: resourceName(kind) },
    spec: {
      group: kind.group,
      scope: kind.namespaced ? 'Namespaced' : 'Cluster',
      names: { kind: kind.kind, plural: kind.plural, singular: kind.kind.toLowerCase() },
      versions: [{ name: kind.version, served: true, storage: true }],
    },
  };
}

/** Finds the kind that "ingress", "ing", "ingresses.networking.k8s.io" or "ingress.v1.networking.k8s.io" name. */
export function findKind(kinds: readonly Kind[], name: string): Kind | undefined {
  const [resource = '', ...rest] = name.toLowerCase().split('.');
  const named = (kind: Kind): boolean =>
    [kind.plural, kind.kind.toLowerCase(), ...kind.short].some((known) => known === resource);
  const group = rest.join('.');
  const versioned = rest.length > 1 ? { version: rest[0], group: rest.slice(1).join('.') } : undefined;
  return (
    kinds.find((k) => versioned && named(k) && k.version === versioned.version && k.group === versioned.group) ??
    kinds.find((k) => named(k) && (rest.length === 0 || k.group === group))
  );
}

function parse(table: string): Kind[] {
  return table
    .trim()
    .split('\n')
    .map((line) => {
      const [apiVersion = '', word = '', ...short] = line.split(' ');
      const [group = '', version = ''] = apiVersion.includes('/') ? apiVersion.split('/') : ['', apiVersion];
      const [name = '', plural] = word.replace('-', '').split('=');
      return {
        group,
        version,
        kind: name,
        plural: plural ?? pluralOf(name.toLowerCase()),
        namespaced: !word.startsWith('-'),
        short,
      };
    });
}

function pluralOf(word: string): string {
  if (/(s|x|ch)$/.test(word)) return `${word}es`;
  return /[^aeiou]y$/.test(word) ? `${word.slice(0, -1)}ies` : `${word}s`;
}
