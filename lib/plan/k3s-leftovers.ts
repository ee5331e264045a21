import { DATA, KEPT, RUNS, SNAPSHOTS, VOLUMES } from '../render/k3s-uninstall.ts';

/** Of what is left of K3s on a machine, a line each: the unit that runs, which is a server or an agent. */
export function runningUnit(left: readonly string[]): string | undefined {
  return left
    .find((line) => line.startsWith('the unit ') && line.endsWith(RUNS))
    ?.slice('the unit '.length, -RUNS.length);
}

/** Whether the unit of a server is installed. */
export function hasServerUnit(left: readonly string[]): boolean {
  return left.includes('the unit k3s') || left.includes(`the unit k3s${RUNS}`);
}

/** Whether etcd's data is among it: then it is a server's machine. */
export function hasEtcd(left: readonly string[]): boolean {
  return left.includes(`${DATA}/etcd`);
}

/** What of etcd goes with it and may be nowhere else: snapshots, and copies that a reset or a restore put aside. */
export function etcdLines(name: string, left: readonly string[]): string[] {
  const snapshots = under(left, SNAPSHOTS);
  const kept = left.filter((line) => KEPT.some((start) => line.startsWith(start)));
  return [
    ...(snapshots.length > 0
      ? [`${name}: its snapshots of etcd (those on the NAS stay): ${snapshots.join(', ')}`]
      : []),
    ...kept.map((path) => `${name}: what etcd had before, put aside in ${path}`),
  ];
}

/** The same of a machine that no cluster speaks for: nobody else can say what lies there. */
export function orphanLines(name: string, left: readonly string[]): string[] {
  const volumes = under(left, VOLUMES);
  return [
    ...(hasEtcd(left) ? [`${name}: etcd's data in ${DATA}/etcd, with every object of the cluster that it was in`] : []),
    ...etcdLines(name, left),
    ...(volumes.length > 0 ? [`${name}: volumes of local-path: ${volumes.join(', ')}`] : []),
  ];
}

function under(left: readonly string[], folder: string): string[] {
  return left.flatMap((line) => (line.startsWith(folder) ? [line.slice(folder.length)] : []));
}
