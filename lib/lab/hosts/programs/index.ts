import type { LabNas } from '../../nas/index.ts';
import { mountPrograms } from '../../nas/programs.ts';
import type { Program, World } from '../../types.ts';
import { ok } from './common.ts';
import { filePrograms } from './files.ts';
import { identityPrograms, QUIET } from './identity.ts';
import { type NetworkOptions, networkPrograms } from './network.ts';
import { packagePrograms } from './packages.ts';
import { storagePrograms } from './storage.ts';
import { systemdPrograms } from './systemd.ts';

export type GenericOptions = NetworkOptions & {
  /** What mount, showmount and exportfs ask. */
  nas?: LabNas;
  /** What `reboot` does: LabMachines.reboot. Without it the host goes on running. */
  reboot?: (address: string) => Promise<void>;
};

/**
 * The stand-ins that every host has, for `world.programs`: systemctl, journalctl, apt-get, dpkg, mount and the
 * like. The programs of a cluster are added beside them.
 */
export function genericPrograms(world: World, options: GenericOptions = {}): Map<string, Program> {
  const { nas, reboot } = options;
  return new Map<string, Program>([
    ...systemdPrograms(world),
    ...packagePrograms,
    ...identityPrograms,
    ...filePrograms,
    ...storagePrograms,
    ...networkPrograms(world, options),
    ...mountPrograms(nas),
    ...QUIET.map((name): [string, Program] => [name, () => ok()]),
    [
      'reboot',
      ({ host }) => {
        // The shell has time to say goodbye, as systemd gives it.
        setTimeout(() => void reboot?.(host.address), 200);
        return ok();
      },
    ],
  ]);
}
