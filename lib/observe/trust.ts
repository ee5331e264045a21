import { type Certificate, certificatesIn, isFor, isSame } from '../certificate.ts';
import type { ProxmoxNode } from '../config/schema.ts';
import type { Lab } from '../lab-context.ts';
import { caFile, trustFile } from '../lookup.ts';
import type { RunContext } from '../main.ts';
import type { Readers } from '../ports/types.ts';

/** The file by which Terraform and Packer recognise Proxmox, where nodes are pinned by their fingerprints. */
export type TrustSeen = {
  path: string;
  /** What it must hold: the certificates with those fingerprints, and the CA for nodes that have none. */
  content: string;
  /** What it holds. */
  now?: string;
  /** Why these programs would not trust the node that they are to dial. */
  problem?: { text: string; fix: string };
};

/**
 * Terraform and Packer know no fingerprints, but trust a certificate that is itself among their roots. The pin says
 * exactly which one that is: what the file holds already need not be asked for, and what a node shows is taken only
 * when it is the pinned one.
 * @param dialled the node whose API these programs dial
 * @returns undefined where no node has a fingerprint: ca_file serves them as it is
 */
export async function readTrust(
  lab: Lab,
  { net, files }: Pick<Readers, 'net' | 'files'>,
  { endpoints }: Pick<RunContext, 'endpoints'>,
  dialled: string,
): Promise<TrustSeen | undefined> {
  const { nodes, port } = lab.config.proxmox;
  if (nodes.every(({ fingerprint }) => fingerprint === undefined)) return undefined;
  const path = trustFile(lab) ?? '';
  const now = await files.text(path);
  const kept = certificatesIn(now ?? '');

  const found = await Promise.all(
    nodes.map(async (node) => ({ node, ...(node.fingerprint !== undefined && (await pinned(node))) })),
  );
  async function pinned({ address, fingerprint = '' }: ProxmoxNode): Promise<{ is?: Certificate; why?: string }> {
    const known = kept.find((certificate) => isSame(certificate.fingerprint, fingerprint));
    if (known) return { is: known };
    const shown = await net.certificate(address, port);
    if (!shown.ok) return { why: shown.reason };
    if (isSame(shown.value.fingerprint, fingerprint)) return { is: shown.value };
    return { why: `its certificate has the fingerprint ${shown.value.fingerprint}, homelab.yaml says ${fingerprint}` };
  }

  const ca = caFile(lab);
  const needsCa = ca !== undefined && nodes.some(({ fingerprint }) => fingerprint === undefined);
  const texts = [...(needsCa ? [(await files.text(ca)) ?? ''] : []), ...found.flatMap(({ is }) => is?.pem ?? [])];
  const content = texts.map((text) => `${text.trim()}\n`).join('');
  const of = found.find(({ node }) => node.name === dialled);
  if (!of || of.node.fingerprint === undefined) return { path, content, now };
  const { node, is, why } = of;
  if (!is) {
    const text = `Terraform and Packer cannot be told how to recognise ${node.name}: ${why}`;
    return { path, content, now, problem: { text, fix: `compare with ${node.name} → System → Certificates` } };
  }
  const { host } = endpoints.dial(node.address, port);
  if (isFor(is, host)) return { path, content, now };
  return {
    ...{ path, content, now },
    problem: {
      text: `the certificate of ${node.name} is for ${is.names}, and not for ${host}: Terraform and Packer would refuse it`,
      fix: `on ${node.name}, see that /etc/hosts has its address, then pvecm updatecerts --force; and write the new fingerprint into homelab.yaml`,
    },
  };
}
