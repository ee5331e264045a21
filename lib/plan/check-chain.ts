import type { Note, Step } from '../step.ts';
import type { Finding, Look } from './check.ts';
import type { VmChange } from './terraform-json.ts';

export type Chain = {
  looks: readonly Look[];
  /** Proxmox does not answer, or not to our token: told already. */
  proxmoxAway: boolean;
  /** Proxmox nodes that do not answer, told already, and the VMs that are to be on them: each with its node. */
  away: ReadonlyMap<string, string>;
  /** What homelab.yaml is warned about, and what was found so far: nothing of it is said twice. */
  said: readonly string[];
  /** VMs about which the comparison of the four sources has told why provision would do something. */
  explained: ReadonlySet<string>;
  /** VMs of which is told that a person must do something, so that provision refuses to. */
  byHand: ReadonlySet<string>;
  /** What Terraform would do; undefined where it could not be asked. */
  changes?: readonly VmChange[];
  limit: readonly string[];
};

type Wait = { script: string; thing: string; note: Note };

/**
 * What the scripts of the chain would do, in their order. A script that could not look, because an earlier one has
 * not done its work yet or Proxmox is away, waits: that is no failure, and what it would do is not known.
 */
export function chainFindings(chain: Chain): Finding[] {
  const undone = new Set<string>(['a task of Proxmox', 'another run', ...(chain.proxmoxAway ? ['Proxmox'] : [])]);
  const waits: Wait[] = [];
  const findings = chain.looks.flatMap((look): Finding[] => {
    const area = look.script;
    if ('error' in look) {
      undone.add(area);
      if (isSaid(look.error, chain)) return [];
      return [{ area, level: 'broken', text: look.error, fix: look.fix }];
    }
    const notes = look.plan.notes.filter(({ host }) => !host || chain.limit.length === 0 || chain.limit.includes(host));
    const own = notes.flatMap((note): Wait[] => {
      const node = chain.away.get(note.host ?? '');
      const thing = node ?? note.waitsFor ?? '';
      return node || undone.has(thing) ? [{ script: area, thing, note }] : [];
    });
    const waiting = own.map(({ note }) => note);
    waits.push(...own);
    const steps = plannedFromSight(look.plan.steps, waiting, notes);
    if (steps.length > 0 || notes.some(({ level }) => level === 'blocker')) undone.add(area);
    const refused = area === 'provision' ? chain.byHand : new Set<string>();
    const told = notes
      .filter((note) => !waiting.some((one) => one === note) && !refused.has(note.host ?? ''))
      .flatMap((note) => noteFinding(area, note, chain));
    const drift = area === 'provision' ? provisionFindings(steps, chain) : steps.map((step) => stepFinding(area, step));
    const asWanted = look.plan.steps.length === 0 && told.length === 0 && !undone.has(area);
    return asWanted ? [{ area, level: 'ok', text: 'as homelab.yaml says' }] : [...told, ...drift];
  });
  return [...findings, ...waitFindings(waits)];
}

/**
 * Steps that were planned from something seen; of a host that was not seen, everything would be to do. Nor are those
 * told of a host about which the script says what it refuses.
 */
function plannedFromSight(steps: readonly Step[], waiting: readonly Note[], notes: readonly Note[]): Step[] {
  if (waiting.some(({ host }) => !host)) return [];
  const refused = notes.filter(({ level, host }) => level === 'blocker' && host);
  const unseen = new Set([...waiting, ...refused].map(({ host }) => host));
  const seen = steps.filter(({ host }) => !host || !unseen.has(host));
  return waiting.length === 0 || seen.some(({ host }) => host) ? seen : [];
}

/**
 * Of provision only what the comparison of the four sources has not told: Terraform compares more attributes than it,
 * and looks into the guests. The steps that belong to no VM follow from those that do.
 */
function provisionFindings(all: readonly Step[], { explained, changes }: Chain): Finding[] {
  const area = 'provision';
  // Where Terraform could not be asked, every VM would be waited for afterwards; that says nothing of any.
  const steps = changes ? all : all.filter(({ host, after = [] }) => !host || !after.some((id) => follows(id, all)));
  const more = (changes ?? []).filter(({ name }) => !explained.has(name));
  const changed = new Set(more.map(({ name }) => name));
  const ofVms = steps.filter(({ host }) => host && !explained.has(host) && !changed.has(host));
  const ofNone = explained.size + more.length === 0 ? steps.filter(({ host }) => !host) : [];
  return [
    ...more.map(
      ({ name, action, differences }): Finding => ({
        ...{ area, level: 'drift' },
        text: `${name}: Terraform would ${action} it${differences.length > 0 ? ` (${differences.join(', ')})` : ''}`,
      }),
    ),
    ...[...ofNone, ...ofVms].map((step) => stepFinding(area, step)),
  ];
}

/** Whether a step is, or comes after, terraform apply. */
function follows(id: string, steps: readonly Step[]): boolean {
  if (id === 'terraform/apply') return true;
  return steps.find((step) => step.id === id)?.after?.some((before) => follows(before, steps)) ?? false;
}

function stepFinding(area: string, { host, title, why }: Step): Finding {
  return { area, level: 'drift', text: `${host ? `${host}: ` : ''}${title} (${why})` };
}

function noteFinding(area: string, { level, text, fix }: Note, chain: Chain): Finding[] {
  if (level === 'info' || isSaid(text, chain)) return [];
  return [{ area, level: level === 'blocker' ? 'broken' : 'warning', text, fix }];
}

function isSaid(text: string, { said }: Chain): boolean {
  return said.some((one) => one.includes(text));
}

/** One finding for each that is waited for: who waits, and the first reason in words. */
function waitFindings(waits: readonly Wait[]): Finding[] {
  const things = [...new Set(waits.map(({ thing }) => thing))];
  return things.map((thing): Finding => {
    const own = waits.filter((wait) => wait.thing === thing);
    const scripts = [...new Set(own.map(({ script }) => script))];
    const [first] = own;
    const hosts = [...new Set(own.flatMap(({ note }) => note.host ?? []))].filter((host) => host !== first?.note.host);
    // Why Proxmox, or a node of it, does not answer stands above.
    const why = own.some(({ note }) => note.waitsFor !== thing || thing === 'Proxmox')
      ? ''
      : `: ${first?.note.text}${hosts.length > 0 ? `; so ${areOrIs(hosts)}` : ''}`;
    const text = `${scripts.join(', ')} ${scripts.length === 1 ? 'waits' : 'wait'} for ${thing}${why}`;
    return { area: 'waiting', level: 'waiting', text };
  });
}

function areOrIs(hosts: readonly string[]): string {
  return `${hosts.length === 1 ? 'is' : 'are'} ${hosts.join(', ')}`;
}
