import { parseDocument } from 'yaml';
import { inUrl } from '../ledger/ip.ts';

export type KubeconfigSource = {
  /** The server that it was read from. */
  server: string;
  /** SHA-256 of the server's k3s.yaml, by which a later run sees that nothing changed. */
  sha256: string;
  /** Where the API is reached from the operator's machine. */
  address: string;
  lab: string;
};

/** The first line of the kubeconfig that we write. It changes with everything that it is made of. */
export function kubeconfigHeader({ server, sha256, address, lab }: KubeconfigSource): string {
  return `# Written by install-k3s for ${lab}: k3s.yaml of ${server} at ${address}, sha256 ${sha256}`;
}

/**
 * A server's own kubeconfig as one for the operator: the server's address in place of 127.0.0.1, and
 * cluster, user and context named after the lab instead of "default".
 */
export function renderKubeconfig(k3sYaml: string, source: KubeconfigSource): string {
  const document = parseDocument(k3sYaml);
  document.setIn(['clusters', 0, 'name'], source.lab);
  document.setIn(['clusters', 0, 'cluster', 'server'], `https://${inUrl(source.address)}:6443`);
  document.setIn(['users', 0, 'name'], source.lab);
  document.setIn(['contexts', 0, 'name'], source.lab);
  document.setIn(['contexts', 0, 'context', 'cluster'], source.lab);
  document.setIn(['contexts', 0, 'context', 'user'], source.lab);
  document.set('current-context', source.lab);
  return `${kubeconfigHeader(source)}\n${document.toString({ lineWidth: 0 })}`;
}
