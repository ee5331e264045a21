import { stringify } from 'yaml';
import type { K3sNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { inUrl } from '../ledger/ip.ts';
import { addressOf } from '../lookup.ts';
import type { Value } from '../step.ts';

/** The cluster's token: made once, kept in .state/<lab>/secrets at 0600. */
export const TOKEN = 'k3s-token';
export const CONFIG_FILE = '/etc/rancher/k3s/config.yaml';

/** How a node gets into the cluster: it starts one, or joins the server at that URL. */
export type Join = 'init' | { server: string };

/**
 * /etc/rancher/k3s/config.yaml of a node, without its token. What must be equal on all servers (CIDRs, the
 * disabled components) is the same by construction: only name, address, join, labels and taints differ.
 */
export function k3sConfig(lab: Lab, node: K3sNode, join: Join): Record<string, unknown> {
  const { k3s, search_domain } = lab.config;
  const address = addressOf(lab, node.name);
  const servers = k3s.nodes.filter(({ role }) => role === 'server').map(({ name }) => name);
  const ofServer = {
    // A name or address that is not here makes the API's certificate invalid for whoever uses it.
    'tls-san': servers.flatMap((name) => [addressOf(lab, name), name, `${name}.${search_domain}`]),
    'cluster-cidr': k3s.cluster_cidr,
    'service-cidr': k3s.service_cidr,
    // MetalLB takes the place of servicelb; traefik, local-storage and metrics-server stay.
    disable: ['servicelb'],
    'write-kubeconfig-mode': '0600',
  };
  return {
    'node-name': node.name,
    'node-ip': address,
    ...(join === 'init' ? { 'cluster-init': true } : { server: join.server }),
    ...(node.role === 'server' ? ofServer : {}),
    ...(Object.keys(node.labels).length > 0 ? { 'node-label': labelsOf(node) } : {}),
    ...(node.taints.length > 0 ? { 'node-taint': node.taints } : {}),
  };
}

/** The text of that file, still without the token. The same configuration is always the same text. */
export function k3sConfigText(config: Record<string, unknown>): string {
  return `# Written by install-k3s from homelab.yaml; what is changed here is overwritten.\n${stringify(config, { lineWidth: 0 })}`;
}

/** The whole file: the text, and the token on the last line, where lib/observe/k3s-facts.ts takes it apart again. */
export function withToken(text: string): Value {
  return { join: [text, 'token: "', { secret: TOKEN }, '"\n'] };
}

/** URL at which a server takes in new nodes. */
export function registration(lab: Lab, server: string): string {
  const address = addressOf(lab, server);
  return `https://${inUrl(address)}:6443`;
}

function labelsOf(node: K3sNode): string[] {
  return Object.entries(node.labels).map(([key, value]) => `${key}=${value}`);
}
