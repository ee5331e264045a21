import { randomBytes } from 'node:crypto';
import type { Nas, NasExport } from '../config/schema.ts';
import { messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { clientsOf } from '../lookup.ts';
import { labHosts } from '../plan/nfs-exports.ts';
import type { Answer, Outcome, Ports, Ssh } from '../ports/types.ts';
import { ERRAND_DEADLINE, type Errand, errandCommand, judgeAllowed, judgeDenied } from '../render/nfs-proof.ts';
import type { Proof } from '../step.ts';

type Attempt = { host: string; nas: Nas; export: NasExport; allowed: boolean; answer: Answer<Outcome> };

/**
 * Every export, from every K3s and Proxmox node: who may mount it writes and reads, who may not is refused.
 * Hosts side by side; each tries one export after another.
 */
export async function proveMounts({ config }: Pick<Lab, 'config'>, { ssh }: Pick<Ports, 'ssh'>): Promise<Proof[]> {
  const hosts = labHosts(config);
  const exports = config.nas.flatMap((nas) => nas.exports.map((each) => ({ nas, export: each })));
  const usedBy = ({ clients }: NasExport): string[] => clientsOf(config, clients);
  const tried = exports.filter((each) => usedBy(each.export).some((client) => hosts.includes(client)));

  const attempts = await Promise.all(
    hosts.map(async (host) => {
      const done: Attempt[] = [];
      for (const { nas, export: each } of tried) {
        const allowed = usedBy(each).includes(host);
        const answer = await runErrand(
          ssh,
          host,
          nas,
          each,
          allowed ? { kind: 'write', name: proofName() } : { kind: 'knock' },
        );
        done.push({ host, nas, export: each, allowed, answer });
      }
      return done;
    }),
  );
  return [
    ...exports.filter((each) => !tried.includes(each)).map(({ nas, export: each }) => untried(nas, each)),
    ...tried.flatMap((each) => proofsOf(attempts.flat().filter((attempt) => attempt.export === each.export))),
  ];
}

/** Mounts an export on a host for one errand. What fails is in the answer. */
export async function runErrand(
  ssh: Pick<Ssh, 'run'>,
  host: string,
  nas: Nas,
  { path }: NasExport,
  errand: Errand,
): Promise<Answer<Outcome>> {
  const command = errandCommand(`/run/${proofName()}`, `${nas.address}:${path}`, nas.nfs_version, errand);
  try {
    return { ok: true, value: await ssh.run(host, command, { sudo: true, deadline: ERRAND_DEADLINE }) };
  } catch (error) {
    return { ok: false, reason: messageOf(error) };
  }
}

/** A name that nobody else has, and by which what was left behind is recognised. */
export function proofName(): string {
  return `homelab-proof-${randomBytes(4).toString('hex')}`;
}

function proofsOf(attempts: readonly Attempt[]): Proof[] {
  const exists = attempts.some(({ allowed, answer }) => allowed && judgeAllowed(answer).ok);
  return attempts.map(({ host, nas, export: each, allowed, answer }) => ({
    claim: `${host} ${allowed ? 'can use' : 'cannot mount'} ${nas.name}:${each.path}`,
    host,
    ...(allowed ? judgeAllowed(answer) : judgeDenied(answer, exists)),
  }));
}

function untried(nas: Nas, { path, clients }: NasExport): Proof {
  const detail = `not tried: only ${clients.join(', ')} may, which is no node of K3s or Proxmox`;
  return { claim: `${nas.name}:${path} can be used`, ok: false, skipped: true, detail };
}
