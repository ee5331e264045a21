import type { Step } from '../step.ts';

/** The NFS client on a host: without it nothing can be mounted there. */
export function nfsClientSteps(host: string, why: string): Step[] {
  const apt = (...argv: string[]): string[] => [
    ...['env', 'DEBIAN_FRONTEND=noninteractive', 'apt-get', '-o', 'DPkg::Lock::Timeout=300'],
    ...argv,
  ];
  const step = (part: string, title: string, argv: string[], after: string[]): Step => ({
    id: `${host}/${part}`,
    ...{ title, why, host, after },
    action: { kind: 'remote', host, argv, sudo: true, deadline: 600 },
  });
  return [
    step('apt-update', 'apt-get update', apt('update'), []),
    step('nfs-common', 'install nfs-common', apt('install', '-y', '--no-install-recommends', 'nfs-common'), [
      `${host}/apt-update`,
    ]),
  ];
}
