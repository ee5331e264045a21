import { parse } from 'yaml';
import type { Lab } from '../lab-context.ts';
import { dig, type Loose, mapsIn, textOf } from '../loose.ts';
import type { KubeconfigSeen } from '../plan/kubeconfig.ts';
import type { Ports } from '../ports/types.ts';
import type { Proof } from '../step.ts';

/** By what the file says now, and nothing else, the API answers. */
export async function verifyKubeconfig(
  { config }: Lab,
  { files, net }: Pick<Ports, 'files' | 'net'>,
  seen: KubeconfigSeen,
): Promise<Proof[]> {
  const [text, mode] = await Promise.all([files.text(seen.real), files.mode(seen.real)]);
  const value: unknown = parse(text ?? '');
  const current = textOf(dig(value, 'current-context'));
  return [
    {
      claim: `only you can read ${seen.file}`,
      ok: mode === 0o600,
      detail: mode === undefined ? 'it is not there' : `mode ${mode.toString(8)}`,
    },
    await answers(config.name, value, net, `\`kubectl --context ${config.name}\` (current: ${current})`),
  ];
}

async function answers(name: string, value: unknown, net: Ports['net'], how: string): Promise<Proof> {
  const claim = `the API answers to its CA and certificate: ${how}`;
  const entry = (list: string, key: string): Loose | undefined =>
    mapsIn(dig(value, list)).find((one) => one.name === name)?.[key] as Loose | undefined;
  const [cluster, user] = [entry('clusters', 'cluster'), entry('users', 'user')];
  const [server, ca, cert, key] = [
    textOf(cluster?.server),
    decoded(cluster, 'certificate-authority-data'),
    decoded(user, 'client-certificate-data'),
    decoded(user, 'client-key-data'),
  ];
  if (!server || !ca || !cert || !key) return { claim, ok: false, detail: 'an entry is missing, or not complete' };
  const { hostname, port } = new URL(server);
  const address = hostname.replace(/^\[(.*)\]$/, '$1');
  const open = await net.tcp(address, Number(port) || 443);
  if (!open.ok)
    return {
      claim,
      ok: false,
      skipped: true,
      detail: `not tried: the API port is not reachable from here (${open.reason})`,
    };
  const answer = await net.http(`${server}/readyz`, { address, ca, client: { cert, key }, deadline: 15 });
  if (!answer.ok) return { claim, ok: false, detail: answer.reason };
  const { status, body, certificate } = answer.value;
  const trusted = certificate?.authorized === true;
  return {
    claim,
    ok: status === 200 && trusted,
    detail: `${server}/readyz: ${status} ${body.trim().slice(0, 60)}${trusted ? '' : '; its certificate is not of that CA, or not for that address'}`,
  };
}

function decoded(entry: Loose | undefined, key: string): string | undefined {
  const text = textOf(entry?.[key]);
  return text === undefined ? undefined : Buffer.from(text, 'base64').toString();
}
