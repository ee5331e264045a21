import { spawnSync } from 'node:child_process';
import type { Program } from '../../types.ts';
import type { K3sHosts } from './hosts.ts';

/** What else a host answers that K3s runs on: etcd's figures, and a clock that may be wrong. */
export function machinePrograms(hosts: K3sHosts): [string, Program][] {
  return [
    ['curl', curlProgram(hosts)],
    ['date', dateProgram(hosts)],
  ];
}

/** `curl …/metrics` of the etcd in K3s, which listens on the server itself; nothing else. */
function curlProgram(hosts: K3sHosts): Program {
  return ({ host, argv }) => {
    const url = argv.find((word) => word.startsWith('http')) ?? '';
    if (url !== 'http://127.0.0.1:2381/metrics')
      return { code: 2, stderr: "curl: this stand-in knows etcd's metrics only\n" };
    const running = hosts.running(host);
    if (running?.kubelet.role !== 'server' || !running.cluster.etcd)
      return { code: 7, stderr: 'curl: (7) Failed to connect to 127.0.0.1 port 2381: Connection refused\n' };
    const { cluster, kubelet } = running;
    const peers = [...cluster.members].map(
      (member) => `etcd_network_known_peers{Local="${kubelet.node}",Remote="${member}"} 1\n`,
    );
    const leader = `# TYPE etcd_server_has_leader gauge\netcd_server_has_leader ${cluster.hasLeader() ? 1 : 0}\n`;
    return { code: 0, stdout: [...peers, leader].join('') };
  };
}

/** The real `date`, on a clock that is ahead by what `faults.clocks` says. */
function dateProgram(hosts: K3sHosts): Program {
  return ({ host, argv, env }) => {
    const ahead = hosts.faults.clocks[host.name];
    const now = ahead === undefined ? [] : ['-d', `@${Math.floor(Date.now() / 1000) + ahead}`];
    const { status, stdout, stderr } = spawnSync('date', [...now, ...argv.slice(1)], {
      env: { ...env, PATH: process.env.PATH },
      encoding: 'utf8',
    });
    return { code: status ?? 1, stdout, stderr };
  };
}
