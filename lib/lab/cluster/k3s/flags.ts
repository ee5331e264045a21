/** Flags of `k3s server` and `k3s agent`, which are the keys of config.yaml too. */
export type FlagForm = 'text' | 'list' | 'switch';

const NODE = {
  text: [
    ...['node-name', 'data-dir', 'token', 'token-file', 'server', 'lb-server-port', 'bind-address', 'resolv-conf'],
    ...['flannel-iface', 'flannel-conf', 'flannel-cni-conf', 'vpn-auth', 'vpn-auth-file', 'private-registry'],
    ...[
      'system-default-registry',
      'pause-image',
      'snapshotter',
      'container-runtime-endpoint',
      'image-service-endpoint',
    ],
    ...[
      'default-runtime',
      'image-credential-provider-bin-dir',
      'image-credential-provider-config',
      'v',
      'vmodule',
      'log',
    ],
  ],
  list: [
    ...['node-label', 'node-taint', 'node-ip', 'node-external-ip', 'node-internal-dns', 'node-external-dns'],
    ...['kubelet-arg', 'kube-proxy-arg'],
  ],
  switch: [
    ...['with-node-id', 'docker', 'disable-default-registry-endpoint', 'nonroot-devices', 'protect-kernel-defaults'],
    ...['enable-pprof', 'rootless', 'prefer-bundled-bin', 'selinux', 'debug', 'alsologtostderr'],
  ],
};

const AGENT = { text: [], list: [], switch: ['disable-apiserver-lb'] };

const SERVER = {
  text: [
    ...['https-listen-port', 'advertise-address', 'advertise-port', 'service-node-port-range', 'cluster-domain'],
    ...['flannel-backend', 'egress-selector-mode', 'servicelb-namespace', 'write-kubeconfig', 'write-kubeconfig-mode'],
    ...['write-kubeconfig-group', 'helm-job-image', 'agent-token', 'agent-token-file', 'cluster-reset-restore-path'],
    ...['datastore-endpoint', 'datastore-cafile', 'datastore-certfile', 'datastore-keyfile', 'etcd-snapshot-name'],
    ...['etcd-snapshot-schedule-cron', 'etcd-snapshot-retention', 'etcd-snapshot-dir', 'etcd-s3-endpoint'],
    ...['etcd-s3-bucket', 'etcd-s3-region', 'etcd-s3-folder', 'etcd-s3-access-key', 'etcd-s3-secret-key'],
    ...['etcd-s3-config-secret', 'default-local-storage-path', 'secrets-encryption-provider'],
  ],
  list: [
    ...['tls-san', 'cluster-cidr', 'service-cidr', 'cluster-dns', 'disable', 'kube-apiserver-arg', 'etcd-arg'],
    ...['kube-controller-manager-arg', 'kube-scheduler-arg', 'kube-cloud-controller-manager-arg'],
  ],
  switch: [
    ...['tls-san-security', 'flannel-ipv6-masq', 'flannel-external-ip', 'cluster-init', 'cluster-reset'],
    ...['etcd-expose-metrics', 'etcd-disable-snapshots', 'etcd-snapshot-compress', 'etcd-s3', 'embedded-registry'],
    ...['supervisor-metrics', 'secrets-encryption', 'disable-scheduler', 'disable-cloud-controller'],
    ...['disable-kube-proxy', 'disable-network-policy', 'disable-helm-controller', 'disable-apiserver'],
    ...['disable-controller-manager', 'disable-etcd'],
  ],
};

export type Role = 'server' | 'agent';

function table(role: Role): Map<string, FlagForm> {
  const parts = [NODE, role === 'server' ? SERVER : AGENT];
  return new Map(
    parts.flatMap((part) =>
      (['text', 'list', 'switch'] as const).flatMap((form) =>
        part[form].map((name): [string, FlagForm] => [name, form]),
      ),
    ),
  );
}

export const flagsOf: Record<Role, Map<string, FlagForm>> = { server: table('server'), agent: table('agent') };
