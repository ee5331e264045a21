import type { Plan, Proof, Step } from '../step.ts';

/** The legs of a rehearsal, in their order; each is an operation of scripts/rehearse.ts. */
const LEGS: { id: string; title: string; deadline: number; database?: boolean }[] = [
  { id: 'lab', title: 'start the embedded lab', deadline: 60 },
  { id: 'plan', title: 'make plan: nothing may change', deadline: 600 },
  { id: 'up', title: 'make up: from nothing', deadline: 1800 },
  { id: 'owner', title: 'the owner deploys an application and a database', deadline: 120 },
  { id: 'ingress', title: 'make new-ingress', deadline: 300 },
  { id: 'backup', title: 'make backup-postgres: dump, and restore to prove it', deadline: 600, database: true },
  { id: 'cronjob', title: 'make backup-install: the same from inside the cluster', deadline: 900, database: true },
  { id: 'restore', title: 'make restore-postgres', deadline: 600, database: true },
  { id: 'again', title: 'everything again: nothing may change', deadline: 1800 },
  { id: 'check', title: 'make check: no drift', deadline: 300 },
  { id: 'report', title: 'write the report', deadline: 60 },
];

/** A rehearsal always runs whole; without PostgreSQL the legs of the database are left out, and it is said. */
export function planRehearsal(postgresql: { state: string; why: string }): Plan {
  const legs = LEGS.filter((leg) => !leg.database || postgresql.state === 'real');
  const steps = legs.map(
    ({ id, title, deadline }, i): Step => ({
      id,
      title,
      why: 'a rehearsal starts from nothing',
      after: i > 0 ? [legs[i - 1]!.id] : [],
      action: { kind: 'operation', name: id, args: {}, deadline },
    }),
  );
  if (postgresql.state === 'real') return { steps, notes: [] };
  return {
    steps,
    notes: [
      {
        level: 'warning',
        text: `the backup is not rehearsed: ${postgresql.why}`,
        fix: 'install PostgreSQL (server and client) to rehearse it',
      },
    ],
  };
}

/** What a rehearsal claims in the end, from its report. */
export function rehearsalProofs(report: {
  second_run_changes: number;
  dry_run_changed_nothing: boolean;
  dials_refused: number;
  proofs: { ok: boolean; skipped?: boolean }[];
  steps: unknown[];
}): Proof[] {
  const tried = report.proofs.filter((proof) => !proof.skipped);
  const held = tried.filter((proof) => proof.ok).length;
  return [
    {
      claim: 'every proof of every script holds',
      ok: tried.length > 0 && held === tried.length,
      detail: `${held} of ${tried.length}`,
    },
    { claim: 'make plan changes nothing', ok: report.dry_run_changed_nothing, detail: '' },
    {
      claim: 'the second run changes nothing',
      ok: report.second_run_changes === 0,
      detail: `${report.second_run_changes} changes, after ${report.steps.length} steps`,
    },
    {
      claim: 'nothing outside the rehearsal was dialled',
      ok: report.dials_refused === 0,
      detail: `${report.dials_refused} refused`,
    },
  ];
}
