import { randomBytes } from 'node:crypto';
import type { Nas, NasExport } from '../config/schema.ts';
import { messageOf } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import { addressOf, clientsOf } from '../lookup.ts';
import { labHosts } from '../plan/nfs-exports.ts';
import type { Answer, Outcome, Ports, Ssh } from '../ports/types.ts';
import { ERRAND_DEADLINE, type Errand, errandCommand } from '../render/nfs-errand.ts';
import { judgeAllowed, judgeDenied } from '../render/nfs-judge.ts';
import type { Attempt, Tried } from './nfs-proofs.ts';

/** Every export, from every K3s and Proxmox node, all side by side. */
export async function tryMounts(
  lab: Pick<Lab, 'config' | 'ledger'>,
  { ssh }: Pick<Ports, 'ssh'>,
): Promise<{ nas: Nas; tried: Tried[] }[]> {
  const all = lab.config.nas.map(async (nas) => {
    const tried = nas.exports.map(async (each) => ({ export: each, ...(await tryExport(lab, ssh, nas, each)) }));
    return { nas, tried: await Promise.all(tried) };
  });
  return Promise.all(all);
}

/** The export from each host; from those that are no node of the lab, nothing can be tried. */
async function tryExport(
  lab: Pick<Lab, 'config' | 'ledger'>,
  ssh: Pick<Ssh, 'run'>,
  nas: Nas,
  each: NasExport,
): Promise<{ attempts: Attempt[]; untried: string[] }> {
  const hosts = labHosts(lab.config);
  const clients = clientsOf(lab.config, each.clients);
  const untried = clients.filter((client) => !hosts.includes(client));
  if (untried.length === clients.length) return { attempts: [], untried };
  const answers = hosts.map(async (host) => {
    const allowed = clients.includes(host);
    const errand: Errand = allowed ? { kind: 'write', name: proofName() } : { kind: 'knock' };
    return { host, allowed, answer: await runErrand(ssh, host, nas, each, errand) };
  });
  const all = await Promise.all(answers);
  const exists = all.some(({ allowed, answer }) => allowed && judgeAllowed(answer, each.path, '').ok);
  const attempts = all.map(({ host, allowed, answer }): Attempt => {
    const judgement = allowed ? judgeAllowed(answer, each.path, addressOf(lab, host)) : judgeDenied(answer, exists);
    return { host, allowed, ...judgement };
  });
  return { attempts, untried };
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
