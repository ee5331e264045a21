import { randomBytes } from 'node:crypto';
import { messageOf } from '../../../errors.ts';
import type { LabHost, Unit } from '../../types.ts';
import type { Cluster, Kubelet } from '../cluster.ts';
import { ConfigError, criticalOf, type K3sConfig, readConfig } from './config.ts';
import {
  CA_FILE,
  installedVersion,
  membership,
  nameMember,
  nodePassword,
  writeAgentFiles,
  writeServerFiles,
} from './files.ts';
import type { Role } from './flags.ts';
import { type K3sHosts, Killed } from './hosts.ts';
import { register } from './node.ts';
import { forgetReset } from './reset.ts';
import { hashOf, refusal } from './token.ts';

/** K3s gave up, with the words of its last log line. */
class Fatal extends Error {}

const SECRET_TYPE = { apiVersion: 'v1', kind: 'Secret' };

/** What systemd starts as `k3s` (a server) or `k3s-agent`. */
export function k3sUnit(role: Role, hosts: K3sHosts): Unit {
  const name = role === 'server' ? 'k3s' : 'k3s-agent';
  return {
    async start(host) {
      try {
        await start(role, host, hosts);
        return { ok: true };
      } catch (error) {
        if (error instanceof Killed) return { ok: false };
        if (!(error instanceof Fatal || error instanceof ConfigError)) throw error;
        host.log(name, `level=fatal msg=${JSON.stringify(messageOf(error))}`);
        return { ok: false };
      }
    },
    async stop(host) {
      await new Promise((resolve) => setTimeout(resolve, hosts.pace.unitStop));
      await hosts.stopped(host);
    },
  };
}

async function start(role: Role, host: LabHost, hosts: K3sHosts): Promise<void> {
  const unit = role === 'server' ? 'k3s' : 'k3s-agent';
  const version = installedVersion(host);
  if (!version)
    throw new Fatal(`${unit}.service: Unable to locate executable '/usr/local/bin/k3s': No such file or directory`);
  host.log(unit, `level=info msg="Starting k3s${role === 'agent' ? ' agent' : ''} ${version}"`);
  // A start leaves what it unpacks, also one that fails.
  host.writeFile('/var/lib/rancher/k3s/data/.lock', '', 0o600);
  await hosts.pause(host, hosts.faults.slow[`${host.name}/${unit}`] ?? 0);
  const fault = hosts.faults.units[`${host.name}/${unit}`];
  if (fault) throw new Fatal(fault);
  const config = readConfig(host, role);
  const node = (config.text('node-name') ?? host.name).toLowerCase();
  const kubelet: Kubelet = { host, node, role, version, generation: randomBytes(8).toString('hex') };
  const cluster = role === 'server' ? await serve(kubelet, config, hosts) : await joinAsAgent(kubelet, config, hosts);
  writeAgentFiles(host);
  cluster.started(kubelet);
  if (role === 'server') await hosts.openApi(kubelet, cluster);
  if (cluster.refusal() === undefined) register(cluster, kubelet, config);
  else hosts.registerLater(cluster, () => register(cluster, kubelet, config));
  host.log(unit, 'level=info msg="k3s is up and running"');
}

/** A server takes up the data on its disk, joins another server, or starts a cluster; in this order. */
async function serve(kubelet: Kubelet, config: K3sConfig, hosts: K3sHosts): Promise<Cluster> {
  const { host, node } = kubelet;
  nameMember(host, node);
  const kept = membership(host);
  if (kept && hosts.clusters.some(({ formerIds }) => formerIds.has(kept.cluster)))
    throw new Fatal(
      'starting kubernetes: preparing server: start managed database: request sent was ignored by remote peer due to cluster ID mismatch',
    );
  const own = kept && hosts.clusters.find(({ id }) => id === kept.cluster);
  if (kept && hosts.clusters.some(({ formerIds }) => formerIds.has(kept.cluster)))
    throw new Fatal(
      'starting kubernetes: preparing server: start managed database: request sent was ignored by remote peer due to cluster ID mismatch',
    );
  const url = config.text('server');
  let cluster: Cluster;
  if (own?.members.has(kept?.node ?? '')) {
    await hosts.pause(host, hosts.pace.unitStart);
    const token = tokenOf(host, config);
    if (token !== undefined && refusal(token, own.caHash, [own.secret], '') !== undefined)
      throw new Fatal(
        'starting kubernetes: preparing server: bootstrap data already found and encrypted with different token',
      );
    sameCritical(own, config);
    cluster = own;
  } else if (url) {
    cluster = await joinAsServer(kubelet, config, url, hosts);
  } else {
    await hosts.pause(host, hosts.pace.unitStart);
    const token = tokenOf(host, config) ?? randomBytes(16).toString('hex');
    if (token.startsWith('K10'))
      throw new Fatal(
        'starting kubernetes: preparing server: failed to normalize server token; must be in format K10<CA-HASH>::<USERNAME>:<PASSWORD> or <PASSWORD>',
      );
    cluster = hosts.newCluster({
      secret: token,
      critical: criticalOf(config),
      etcd: config.on('cluster-init'),
      config,
    });
    rememberPassword(cluster, kubelet);
  }
  cluster.members.add(node);
  forgetReset(host);
  await writeServerFiles(host, cluster, node, config.text('write-kubeconfig-mode') ?? '600');
  return cluster;
}

async function joinAsServer(kubelet: Kubelet, config: K3sConfig, url: string, hosts: K3sHosts): Promise<Cluster> {
  const { host, node } = kubelet;
  const preparing = (words: string): Fatal => new Fatal(`starting kubernetes: preparing server: ${words}`);
  const cluster = reach(host, url, hosts, (words) => preparing(`failed to get CA certs: ${words}`));
  const token = tokenOf(host, config);
  if (!token) throw preparing('--token is required to join a cluster');
  const refused = refusal(token, cluster.caHash, [cluster.secret], url);
  if (refused)
    throw preparing(
      `failed to bootstrap cluster data: failed to check if bootstrap data has been initialized: ${refused}`,
    );
  if (!cluster.etcd)
    throw preparing(
      `failed to bootstrap cluster data: ${url}/v1-k3s/server-bootstrap: 400 Bad Request: this server does not run embedded etcd`,
    );
  // K3s takes the cluster's files where its own are older; here they are always the younger.
  const foreign = host.readFile(CA_FILE);
  if (foreign !== undefined && foreign !== cluster.options.ca.certificate)
    throw preparing(
      `${CA_FILE} newer than datastore and could cause a cluster outage. Remove the file(s) from disk and restart to be recreated from datastore.`,
    );
  sameCritical(cluster, config);
  if (cluster.members.has(node))
    throw new Fatal(
      'starting kubernetes: preparing server: start managed database: joining etcd cluster: duplicate node name found, please use a unique name for this node',
    );
  if (cluster.learner !== undefined)
    throw new Fatal(
      'starting kubernetes: preparing server: start managed database: joining etcd cluster: etcdserver: too many learner members in cluster',
    );
  cluster.learner = node;
  try {
    await hosts.pause(host, hosts.pace.unitStart);
    await untilPeersConnect(kubelet, cluster, hosts);
  } finally {
    cluster.learner = undefined;
  }
  const down = cluster.refusal();
  if (down)
    throw new Fatal(`starting kubernetes: preparing server: start managed database: joining etcd cluster: ${down}`);
  rememberPassword(cluster, kubelet);
  return cluster;
}

/** A learner that its peers do not reach is not made a member: K3s waits for it, and says so again and again. */
async function untilPeersConnect({ host }: Kubelet, cluster: Cluster, hosts: K3sHosts): Promise<void> {
  const apart = (): LabHost | undefined =>
    cluster.servers().find((peer) => hosts.blocks(host, peer.host, 2380) || hosts.blocks(peer.host, host, 2380))?.host;
  for (let peer = apart(); peer; peer = apart()) {
    host.log(
      'k3s',
      `{"level":"warn","msg":"prober detected unhealthy status","error":"dial tcp ${peer.address}:2380: i/o timeout"}`,
    );
    host.log(
      'k3s',
      'level=info msg="Failed to test etcd connection: this server has not yet been promoted from learner to voting member"',
    );
    await hosts.pause(host, 100);
  }
}

async function joinAsAgent(kubelet: Kubelet, config: K3sConfig, hosts: K3sHosts): Promise<Cluster> {
  const { host } = kubelet;
  const url = config.text('server');
  if (!url) throw new Fatal('--server is required');
  const token = tokenOf(host, config);
  if (!token) throw new Fatal('--token is required');
  await hosts.pause(host, hosts.pace.unitStart);
  const failed = (words: string): Fatal => new Fatal(`Failed to validate connection to cluster at ${url}: ${words}`);
  const cluster =
    reachAny(host, hosts) ?? reach(host, url, hosts, (words) => failed(`failed to get CA certs: ${words}`));
  const secrets = [cluster.secret, ...(cluster.agentSecret ? [cluster.agentSecret] : [])];
  const refused = refusal(token, cluster.caHash, secrets, url);
  if (refused) throw failed(refused);
  rememberPassword(cluster, kubelet);
  host.writeFile(
    '/var/lib/rancher/k3s/agent/etc/k3s-agent-load-balancer.json',
    JSON.stringify({ cluster: cluster.id }),
  );
  return cluster;
}

/** An agent that joined before knows all servers: one that is left is enough. */
function reachAny(host: LabHost, hosts: K3sHosts): Cluster | undefined {
  const known = host.readFile('/var/lib/rancher/k3s/agent/etc/k3s-agent-load-balancer.json') ?? '';
  return hosts.clusters.find((cluster) => known.includes(cluster.id) && cluster.servers().length > 0);
}

/** The cluster whose server runs at a URL. @throws what `failed` makes of the words */
function reach(from: LabHost, url: string, hosts: K3sHosts, failed: (words: string) => Fatal): Cluster {
  const [, address = '', port = '6443'] = /^https:\/\/\[?([^\]/]+?)\]?(?::(\d+))?\/?$/.exec(url) ?? [];
  if (!address) throw new Fatal(`invalid server url: ${url}`);
  const cluster = hosts.clusters.find((c) =>
    c
      .servers()
      .some(({ host, node }) => port === '6443' && (host.address === address || node === address.split('.')[0])),
  );
  if (!cluster) throw failed(`Get "${url}/cacerts": dial tcp ${address}:${port}: connect: connection refused`);
  const server = cluster.servers().find(({ host, node }) => host.address === address || node === address.split('.')[0]);
  if (server && hosts.blocks(from, server.host, 6443))
    throw failed(`Get "${url}/cacerts": dial tcp ${address}:${port}: i/o timeout`);
  const clock = (host: LabHost): number => hosts.faults.clocks[host.name] ?? 0;
  // Its certificates are as young as the cluster, and begin when it was made.
  if (server && clock(from) < clock(server.host) - 60)
    throw failed(
      `Get "${url}/cacerts": tls: failed to verify certificate: x509: certificate has expired or is not yet valid`,
    );
  return cluster;
}

function sameCritical(cluster: Cluster, config: K3sConfig): void {
  const own = criticalOf(config);
  const differing = Object.keys(own).filter((key) => own[key] !== cluster.critical[key]);
  if (differing.length > 0)
    throw new Fatal(
      `starting kubernetes: preparing server: failed to bootstrap cluster data: failed to validate server configuration: critical configuration value mismatch between servers: ${differing.join(', ')}`,
    );
}

/** The cluster knows a node by the password that it came with first, kept as a Secret until its Node is deleted. */
function rememberPassword(cluster: Cluster, { host, node }: Kubelet): void {
  const password = nodePassword(host);
  const name = `${node}.node-password.k3s`;
  const hash = Buffer.from(hashOf(password)).toString('base64');
  const kept = cluster.store.get('v1', 'Secret', name, 'kube-system');
  if (!kept) {
    cluster.store.put({
      ...SECRET_TYPE,
      metadata: { name, namespace: 'kube-system' },
      type: 'Opaque',
      immutable: true,
      data: { hash },
    });
    return;
  }
  if ((kept.data as Record<string, string>).hash !== hash)
    throw new Fatal(
      "Failed to retrieve agent configuration: Node password rejected, duplicate hostname or contents of '/etc/rancher/node/password' may not match server node-passwd entry, try enabling a unique node name with the --with-node-id flag",
    );
}

function tokenOf(host: LabHost, config: K3sConfig): string | undefined {
  const file = config.text('token-file');
  const fromFile = file === undefined ? undefined : host.readFile(file)?.trim();
  if (file !== undefined && fromFile === undefined) throw new Fatal(`open ${file}: no such file or directory`);
  return config.text('token') ?? fromFile;
}
