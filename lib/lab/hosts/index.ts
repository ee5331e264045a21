/**
 * Machines of the embedded lab: a real SSH server on loopback for each, a real POSIX shell behind it, and
 * stand-ins for what needs privileges or hardware. translate.ts says precisely what is emulated.
 */
export { startHost } from './host.ts';
export { LabMachines, type MachinesOptions } from './machines.ts';
export { genericPrograms } from './programs/index.ts';
export type { HostFaults, HostMount, HostSpec, RunningHost } from './spec.ts';
