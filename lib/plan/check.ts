import type { Config } from '../config/schema.ts';
import type { Note, Plan } from '../step.ts';
import { atLeast } from '../version.ts';
import type { ConventionProblem } from './convention-problem.ts';
import { type Granted, missingPrivileges, neededPrivileges } from './privileges.ts';

/** What `check` found about one thing. `drift` is what a script would change; `broken` is what it could not. */
export type Finding = { area: string; level: 'ok' | 'warning' | 'drift' | 'broken'; text: string; fix?: string };

/** What one script of the chain would do, or why it could not look. */
export type Look = { script: string; plan: Plan } | { script: string; error: string; fix?: string };

/** The machine that runs the scripts, and Proxmox's door. */
export type Preflight = {
  tools: { name: string; version?: string; needed: readonly number[]; how: string }[];
  /** The SSH key that is offered, and whether it is there. */
  key: { path: string; found: boolean };
  nodes: { name: string; address: string; reason?: string }[];
  /** What /access/permissions says of the token, or why it does not. */
  token: { granted: Granted } | { reason: string };
};

/** The machine and Proxmox: what has to be right before anything can start. */
export function preflightFindings(config: Config, { tools, key, nodes, token }: Preflight): Finding[] {
  const area = 'preflight';
  return [
    ...tools.map(({ name, version, needed, how }): Finding => {
      if (!version) return { area, level: 'broken', text: `${name} is not installed`, fix: how };
      return atLeast(version, needed)
        ? { area, level: 'ok', text: `${name} ${version}` }
        : { area, level: 'broken', text: `${name} ${version} is older than ${needed.join('.')}`, fix: how };
    }),
    key.found
      ? { area, level: 'ok', text: `SSH key ${key.path}` }
      : {
          area,
          level: 'broken',
          text: `the SSH key ${key.path} is not there`,
          fix: `make one: ssh-keygen -t ed25519 -f ${key.path}`,
        },
    ...nodes.map(
      ({ name, address, reason }): Finding =>
        reason
          ? {
              area,
              level: 'broken',
              text: `${name} (${address}): ${reason}`,
              fix: 'is it up, is its address right, and is proxmox.ca_file of this cluster?',
            }
          : { area, level: 'ok', text: `${name} (${address}) answers` },
    ),
    ...tokenFindings(config, token),
  ];
}

function tokenFindings(config: Config, token: Preflight['token']): Finding[] {
  const area = 'privileges';
  if ('reason' in token)
    return [
      {
        area,
        level: 'broken',
        text: `the token ${config.proxmox.token_id}: ${token.reason}`,
        fix: 'npx tsx scripts/check.ts --role prints how it is made',
      },
    ];
  const missing = missingPrivileges(neededPrivileges(config), token.granted);
  if (missing.length === 0)
    return [{ area, level: 'ok', text: `the token ${config.proxmox.token_id} has what it needs` }];
  return missing.map(({ path, privileges, why }) => ({
    area,
    level: 'broken',
    text: `the token lacks ${privileges.join(', ')} on ${path} (${why})`,
    fix: 'npx tsx scripts/check.ts --role prints the commands',
  }));
}

/**
 * What the scripts of the chain would do.
 * @param warned what homelab.yaml is warned about already: a script's warning that stands there is not said twice
 */
export function driftFindings(looks: readonly Look[], warned: readonly string[] = []): Finding[] {
  return looks.flatMap((look): Finding[] => {
    const area = look.script;
    if ('error' in look) return [{ area, level: 'broken', text: look.error, fix: look.fix }];
    const { steps, notes } = look.plan;
    const drift = steps.map(
      (step): Finding => ({
        area,
        level: 'drift',
        text: `${step.host ? `${step.host}: ` : ''}${step.title} (${step.why})`,
      }),
    );
    const said = notes
      .filter(({ level, text }) => level !== 'warning' || !warned.some((warning) => warning.includes(text)))
      .flatMap((note) => noteFinding(area, note));
    return steps.length + said.length === 0
      ? [{ area, level: 'ok', text: 'as homelab.yaml says' }]
      : [...said, ...drift];
  });
}

function noteFinding(area: string, { level, text, fix }: Note): Finding[] {
  if (level === 'info') return [];
  return [{ area, level: level === 'blocker' ? 'broken' : 'warning', text, fix }];
}

/** What the linter of applications/ found. */
export function conventionFindings(problems: readonly ConventionProblem[]): Finding[] {
  if (problems.length === 0) return [{ area: 'conventions', level: 'ok', text: 'applications/ follows them' }];
  return problems.map(({ place, object, message, fix, level }) => ({
    area: 'conventions',
    level: level === 'error' ? 'broken' : 'warning',
    text: `${place}: ${object}: ${message}`,
    fix,
  }));
}

/** 0 as wanted · 1 something is broken · 3 something would be changed. */
export function checkExit(findings: readonly Finding[]): number {
  if (findings.some(({ level }) => level === 'broken')) return 1;
  return findings.some(({ level }) => level === 'drift') ? 3 : 0;
}

/** Findings as a person reads them, a line each, and the counts. */
export function findingsText(findings: readonly Finding[]): string {
  const mark = { ok: '✓', warning: '!', drift: '~', broken: '✗' };
  const width = Math.max(...findings.map(({ area }) => area.length));
  const lines = findings.map(
    ({ area, level, text, fix }) => `${mark[level]} ${area.padEnd(width)}  ${text}${fix ? `; ${fix}` : ''}`,
  );
  const count = (level: Finding['level']): number => findings.filter((finding) => finding.level === level).length;
  return [
    ...lines,
    `${count('broken')} broken, ${count('drift')} drifted, ${count('warning')} warnings, ${count('ok')} as wanted`,
  ].join('\n');
}
