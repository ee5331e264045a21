import { quorum } from '../config/quorum.ts';

/** A member of etcd, as the cluster or, where it does not answer, homelab.yaml has it. */
export type Member = { name: string; ready: boolean };

/** What is about to happen to members of etcd: they are away for a while, or for good. */
export type Absence = 'restart' | 'removal';

export type Verdict = {
  /** False: it must not be done. */
  ok: boolean;
  /** Whether etcd answers meanwhile. With two members it never does, and that is no reason to refuse. */
  stops: boolean;
  /** The arithmetic, for a person: "etcd: 3 members, 2 needed (⌊3/2⌋+1), 3 ready; without k3s-cp-02 2 are left". */
  arithmetic: string;
  /** What to do first, where it must not be done. */
  fix?: string;
};

/**
 * Counts who is left of etcd while `leaving` are away. Refused is what would stop etcd although it need not stop:
 * several members at once, or one while another is down. A single member of one or two is let go (there is no other
 * way), as long as every other one is ready; so is one that is down itself, for it takes nothing along.
 * @param members all of them, `leaving` included; empty: there is no cluster, and nothing to guard
 */
export function guardQuorum(absence: Absence, leaving: readonly string[], members: readonly Member[]): Verdict {
  const going = members.filter(({ name }) => leaving.includes(name));
  const stay = members.filter(({ name }) => !leaving.includes(name));
  const before = quorum(members.length);
  // Members that are taken out do not count any more; those that come back do.
  const { needed } = absence === 'removal' ? quorum(stay.length) : before;
  const left = stay.filter(({ ready }) => ready).length;
  const ready = members.filter((member) => member.ready).length;
  const stops = left < needed;
  const arithmetic =
    `etcd: ${members.length} ${members.length === 1 ? 'member' : 'members'}, ${before.needed} needed ` +
    `(⌊${members.length}/2⌋+1), ${ready} ready; without ${leaving.join(', ')} ${left} ${left === 1 ? 'is' : 'are'} left` +
    `${absence === 'removal' ? ` of ${stay.length}, ${needed} needed then` : ''}${stops ? ': it stops' : ''}`;
  const verdict = (ok: boolean, fix?: string): Verdict => ({ ok, stops, arithmetic, ...(fix ? { fix } : {}) });

  if (going.length === 0) return verdict(true);
  const down = stay.filter((member) => !member.ready).map(({ name }) => name);
  // Removing a member is a write of its own, which the members of now must agree to.
  if (absence === 'removal' && ready < before.needed) {
    const silent = members.filter((member) => !member.ready).map(({ name }) => name);
    return verdict(
      false,
      `etcd has no majority now: start ${silent.join(', ')}; if that is gone for good, make its VM anew (provision) and run install-k3s: it shows the way out`,
    );
  }
  if (!stops) return verdict(true);
  if (going.every((member) => !member.ready)) return verdict(true);
  if (going.length > 1)
    return verdict(false, `take one after another: ${going.map(({ name }) => name).join(', then ')}`);
  if (down.length > 0) return verdict(false, `start ${down.join(', ')} first`);
  return verdict(true);
}
