import type { Lab } from '../lab-context.ts';
import { servers } from '../lookup.ts';
import { k3sConfig } from '../render/k3s-config.ts';
import type { Note } from '../step.ts';
import { factsOf, joinOf, parseConfig } from './k3s-join.ts';
import type { SeenK3s } from './k3s-seen.ts';

/** What must be equal on all servers, with what K3s takes where config.yaml says nothing. */
const CRITICAL: Record<string, string> = {
  'cluster-cidr': '10.42.0.0/16',
  'service-cidr': '10.43.0.0/16',
  'cluster-dns': 'from service-cidr',
  'cluster-domain': 'cluster.local',
  'flannel-backend': 'vxlan',
  'flannel-ipv6-masq': 'false',
  'flannel-external-ip': 'false',
  'egress-selector-mode': 'agent',
  'secrets-encryption': 'false',
  'embedded-registry': 'false',
  'disable-network-policy': 'false',
  'disable-kube-proxy': 'false',
  'disable-cloud-controller': 'false',
  'disable-helm-controller': 'false',
};
/** Where homelab.yaml says it. */
const IN_HOMELAB: Record<string, string> = { 'cluster-cidr': 'k3s.cluster_cidr', 'service-cidr': 'k3s.service_cidr' };

/**
 * Servers that run with other values of what cannot be changed on a cluster that exists. K3s compares them when a
 * server joins, and not when one restarts: a change would go through, and break the network of the pods.
 */
export function criticalNotes(lab: Lab, seen: SeenK3s): Note[] {
  return servers(lab.config)
    .filter(({ name }) => factsOf(seen, name).etcdData && factsOf(seen, name).config !== undefined)
    .flatMap((node) => {
      const { config, dropIns = [] } = factsOf(seen, node.name);
      const live = parseConfig(config);
      const wanted = k3sConfig(lab, node, joinOf(lab, seen, node));
      return Object.keys(CRITICAL)
        .filter((key) => !dropIns.includes(key) && effective(live, key) !== effective(wanted, key))
        .map((key): Note => {
          const [is, was] = [effective(wanted, key), effective(live, key)];
          const place = IN_HOMELAB[key];
          return {
            level: 'blocker',
            text: `${node.name} has ${key} ${was}${place ? `, ${place} says ${is}` : `, and this would make it ${is}`}: it cannot be changed on a cluster that exists`,
            fix: place
              ? `set ${place} back to ${was}; another one needs new machines`
              : `to keep it, move the line into /etc/rancher/k3s/config.yaml.d/own.yaml on every server, where K3s reads it too`,
          };
        });
    });
}

/** Whether a server runs servicelb or not, unlike what it should: one that joins must find it as it is itself. */
export function differsInServicelb(lab: Lab, seen: SeenK3s): boolean {
  return servers(lab.config).some(({ name }) => {
    const { etcdData, config } = factsOf(seen, name);
    const { disable } = parseConfig(config);
    const off = [disable].flat().some((one) => String(one).split(',').includes('servicelb'));
    return etcdData && config !== undefined && !off;
  });
}

function effective(config: Record<string, unknown>, key: string): string {
  const value = config[key];
  return value === undefined ? (CRITICAL[key] ?? '') : [value].flat().map(String).join(',');
}
