import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { HomelabError, messageOf } from '../../../errors.ts';
import type { LabHost, ProgramCall, ProgramResult } from '../../types.ts';
import type { Cluster } from '../cluster.ts';
import { type K3sConfig, readConfig } from './config.ts';
import { membership, writeServerFiles } from './files.ts';
import type { K3sHosts } from './hosts.ts';
import { fatal, flagValue, parsed } from './snapshots.ts';

const RESET_FLAG = '/var/lib/rancher/k3s/server/db/reset-flag';
const SWITCHES = ['--cluster-reset'];
const VALUED = ['--cluster-reset-restore-path', '--config'];

/**
 * `k3s server --cluster-reset`: the server is the only member of its etcd from then on, and keeps what that holds, or
 * has what a snapshot holds. Stricter than K3s in one thing: K3s does not look whether other members still run, and
 * the emulator refuses, for they would go on without it.
 */
export async function clusterReset(
  { host, root }: ProgramCall,
  args: string[],
  hosts: K3sHosts,
): Promise<ProgramResult> {
  const isKnown = (arg: string, i: number): boolean =>
    SWITCHES.includes(arg) || VALUED.some((flag) => arg === flag || arg.startsWith(`${flag}=`) || args[i - 1] === flag);
  if (!args.includes('--cluster-reset') || !args.every(isKnown))
    return fatal("the rehearsal's `k3s server` does --cluster-reset only");
  if (!root) return fatal('must run as root unless --rootless is specified');
  if (hosts.running(host)) return fatal('listen tcp :6443: bind: address already in use');
  const fault = hosts.faults.units[`${host.name}/cluster-reset`];
  if (fault) return fatal(fault);
  try {
    const config = readConfig(host, 'server', flagValue(args, '--config'));
    if (config.text('server'))
      return fatal(
        'cannot perform cluster-reset while server URL is set - remove server from configuration before resetting',
      );
    const path = flagValue(args, '--cluster-reset-restore-path');
    const { cluster, objects } = path === undefined ? kept(host, hosts) : held(host, path, config, hosts);
    const others = cluster.servers().map((server) => server.node);
    if (others.length > 0) return fatal(`the rehearsal refuses: K3s still runs on ${others.join(', ')}`);
    const node = (config.text('node-name') ?? host.name).toLowerCase();
    cluster.reset(node, objects);
    await writeServerFiles(host, cluster, node, config.text('write-kubeconfig-mode') ?? '600');
    host.writeFile(RESET_FLAG, '', 0o600);
    return {
      code: 0,
      stderr:
        'level=info msg="Managed etcd cluster membership has been reset, restart without --cluster-reset flag now. Backup and delete ${datadir}/server/db on each peer etcd server and rejoin the nodes"\n',
    };
  } catch (error) {
    return fatal(messageOf(error));
  }
}

/** A start after a reset takes its mark away. */
export function forgetReset(host: LabHost): void {
  rmSync(join(host.root, RESET_FLAG), { force: true });
}

type Found = { cluster: Cluster; objects?: string };

/** What lies on the server's disk. */
function kept(host: LabHost, hosts: K3sHosts): Found {
  if (host.readFile(RESET_FLAG) !== undefined)
    throw new HomelabError(
      `Managed etcd cluster membership was previously reset, please remove the cluster-reset flag and start k3s normally. If you need to perform another cluster reset, you must first manually delete the ${RESET_FLAG} file`,
    );
  const cluster = hosts.clusters.find(({ id }) => id === membership(host)?.cluster);
  if (!cluster) throw new HomelabError('the rehearsal resets a server with data of etcd only');
  return { cluster };
}

/** What a snapshot holds. */
function held(host: LabHost, path: string, config: K3sConfig, hosts: K3sHosts): Found {
  const text = host.readFile(path);
  if (text === undefined) throw new HomelabError(`etcd: snapshot path does not exist: ${path}`);
  const snapshot = parsed(text);
  if (!snapshot) throw new HomelabError('snapshot restore failed: snapshot missing hash but --skip-hash-check=false');
  const { caHash, secret, objects } = snapshot;
  const cluster = hosts.clusters.find((one) => one.caHash === caHash && one.secret === secret);
  if (!cluster || !config.text('token')?.endsWith(secret))
    throw new HomelabError('bootstrap data already found and encrypted with different token');
  return { cluster, objects };
}
