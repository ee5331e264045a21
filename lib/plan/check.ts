import type { Config } from '../config/schema.ts';
import type { Plan } from '../step.ts';
import { atLeast } from '../version.ts';
import type { ConventionProblem } from './convention-problem.ts';
import type { Drift } from './drift.ts';
import { type Granted, missingPrivileges, neededPrivileges } from './privileges.ts';

/**
 * What `check` found about one thing. `drift` is what a script would change, `waiting` what it could not look at before
 * another one has done its work; `broken` is what a person must mend.
 */
export type Finding = {
  area: string;
  level: 'ok' | 'warning' | 'waiting' | 'drift' | 'broken';
  text: string;
  fix?: string;
  /** What each source says of a VM, and which of them disagree. */
  drift?: Pick<Drift, 'vm' | 'attribute' | 'values' | 'odd'>;
};

/** What one script of the chain would do, or why it could not look. */
export type Look = { script: string; plan: Plan } | { script: string; error: string; fix?: string };

/** The machine that runs the scripts, and Proxmox's door. */
export type Preflight = {
  tools: { name: string; version?: string; problem?: string; fix?: string; needed: readonly number[]; how: string }[];
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
    ...tools.map(({ name, version, problem, fix, needed, how }): Finding => {
      if (!version) return { area, level: 'broken', text: problem ?? `${name} is not installed`, fix: fix ?? how };
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
    // Where no node answers, nobody could say anything of the token.
    ...(nodes.every(({ reason }) => reason) ? [] : tokenFindings(config, token)),
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

/** Whether Proxmox can be asked at all. */
export function isProxmoxAway({ nodes, token }: Preflight): boolean {
  return 'reason' in token || nodes.every(({ reason }) => reason);
}

/** Proxmox nodes that do not answer, though Proxmox does, and the VMs that are to be on them: each with its node. */
export function awayWithTheirVms({ k3s }: Config, preflight: Preflight): ReadonlyMap<string, string> {
  if (isProxmoxAway(preflight)) return new Map();
  const { nodes } = preflight;
  const away = new Set(nodes.filter(({ reason }) => reason).map(({ name }) => name));
  const vms = k3s.nodes.filter(({ node }) => away.has(node));
  return new Map([
    ...[...away].map((name): [string, string] => [name, name]),
    ...vms.map(({ name, node }): [string, string] => [name, node]),
  ]);
}

/** What the linter of applications/, and of the cluster where it was seen, found. */
export function conventionFindings(problems: readonly ConventionProblem[], sawCluster: boolean): Finding[] {
  const followed = sawCluster ? 'applications/ and the cluster follow them' : 'applications/ follows them';
  if (problems.length === 0) return [{ area: 'conventions', level: 'ok', text: followed }];
  return problems.map(({ place, object, message, fix, level }) => ({
    area: 'conventions',
    level: level === 'error' ? 'broken' : 'warning',
    text: `${place}: ${object}: ${message}`,
    fix,
  }));
}

/** 0 as wanted · 1 something is broken · 3 something would be changed, or waits for that. */
export function checkExit(findings: readonly Finding[]): number {
  if (findings.some(({ level }) => level === 'broken')) return 1;
  return findings.some(({ level }) => level === 'drift' || level === 'waiting') ? 3 : 0;
}

/** Findings as a person reads them, a line each, and the counts. */
export function findingsText(findings: readonly Finding[]): string {
  const mark = { ok: '✓', warning: '!', waiting: '…', drift: '~', broken: '✗' };
  const width = Math.max(...findings.map(({ area }) => area.length));
  const lines = abridged(findings).map(
    ({ area, level, text, fix }) => `${mark[level]} ${area.padEnd(width)}  ${text}${fix ? `; ${fix}` : ''}`,
  );
  const count = (level: Finding['level']): number => findings.filter((finding) => finding.level === level).length;
  const counts = `${count('broken')} broken, ${count('drift')} drifted, ${count('waiting')} waiting`;
  return [...lines, `${counts}, ${count('warning')} warnings, ${count('ok')} as wanted`].join('\n');
}

/** Steps of one script that are shown; the others are counted. */
const SHOWN = 4;
/** Areas that are a command of a family. */
const COMMAND: Record<string, string[]> = { 'etcd-snapshot': ['install'] };

/** Of a script with much to do the first steps: it shows all of them itself. */
function abridged(findings: readonly Finding[]): Finding[] {
  const steps = (area: string): Finding[] =>
    findings.filter((one) => one.area === area && one.level === 'drift' && !one.drift);
  return findings.flatMap((finding) => {
    const all = steps(finding.area);
    const at = all.indexOf(finding);
    if (at < SHOWN || all.length <= SHOWN + 1) return [finding];
    const command = [`${finding.area}.ts`, ...(COMMAND[finding.area] ?? []), '--dry-run'].join(' ');
    const rest = `and ${all.length - SHOWN} more: npx tsx scripts/${command}`;
    return at === SHOWN ? [{ ...finding, text: rest, fix: undefined }] : [];
  });
}
