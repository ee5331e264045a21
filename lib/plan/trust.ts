import type { Lab } from '../lab-context.ts';
import type { TrustSeen } from '../observe/trust.ts';
import type { Note, Step } from '../step.ts';
import { shownPath } from './shown-path.ts';

/** Writes the file by which Terraform and Packer recognise Proxmox, where it is not what it must be. */
export function trustSteps(lab: Lab, trust: TrustSeen | undefined): Step[] {
  if (!trust || isTrusted(trust)) return [];
  const { path, content, now } = trust;
  return [
    {
      id: 'trust',
      title: `write ${shownPath(lab, path)}: the certificates that are pinned`,
      why: now === undefined ? 'absent' : 'differs',
      action: { kind: 'write', path, content },
    },
  ];
}

/** Whether Terraform and Packer can recognise Proxmox as things are. */
export function isTrusted(trust: TrustSeen | undefined): boolean {
  return trust === undefined || trust.content === trust.now;
}

/** What keeps Terraform and Packer from trusting the node that they are to dial. */
export function trustProblems(trust: TrustSeen | undefined): Note[] {
  return trust?.problem ? [{ level: 'blocker', ...trust.problem }] : [];
}
