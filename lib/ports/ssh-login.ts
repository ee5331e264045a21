import type { Lab } from '../lab-context.ts';
import { addressOf } from '../lookup.ts';

/** Who logs in where: the user and the address of a host of homelab.yaml. @throws Error for a host without SSH */
export function loginOf(lab: Lab, host: string): { user: string; address: string } {
  const { k3s, proxmox, nas, ssh, template } = lab.config;
  const address = addressOf(lab, host);
  if (k3s.nodes.some(({ name }) => name === host)) return { user: template.user, address };
  if (proxmox.nodes.some(({ name }) => name === host)) return { user: ssh.proxmox_user, address };
  if (nas.some(({ name, kind }) => name === host && kind === 'linux')) return { user: 'root', address };
  throw new Error(`${host} is not reached by SSH`);
}
