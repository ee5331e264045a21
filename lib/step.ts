/**
 * A plan is data: steps with ids, reasons and dependencies, made by pure functions in lib/plan
 * and carried out by the one interpreter in lib/apply.ts.
 */

/**
 * Text that a step needs. What is not known while planning (a token, the output of an earlier step)
 * is a reference, so that secrets never stand in a plan, a journal or a log.
 */
export type Value =
  | string
  /** A secret by name: from .env, or one that a `secret` step made. */
  | { secret: string }
  /** What an earlier step put out (its stdout, its task's UPID, …). That step must stand in `after`. */
  | { from: string }
  | { join: Value[] };

export type KubeObject = {
  apiVersion: string;
  kind: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    [key: string]: unknown;
  };
  [key: string]: unknown;
};

/** What a wait looks for, as data. Every wait has a deadline in seconds and ends with a probable cause. */
export type Condition =
  | { ssh: string }
  /** A command on a host that exits 0. */
  | { host: string; argv: string[]; sudo?: boolean }
  /** An object whose value at `path` (dotted) equals `equals`, or exists when `equals` is left out. */
  | {
      kube: { apiVersion: string; kind: string; name: string; namespace?: string };
      path: string;
      equals?: string | number | boolean;
    }
  /** A HelmChart that K3s's helm-controller has installed in this version. Ends early when helm has failed. */
  | { chart: { name: string; version: string } }
  /** A certificate that cert-manager has issued. Ends early when it cannot be issued before somebody does something. */
  | { certificate: { name: string; namespace: string; host: string } }
  /** Deployments, DaemonSets and StatefulSets of a namespace, all rolled out; at least one exists. */
  | { rollout: { namespace: string; names?: string[] } };

export type Action =
  /** A program on this machine. */
  | { kind: 'run'; argv: Value[]; cwd?: string; env?: Record<string, Value>; stdin?: Value; deadline: number }
  /** A program on a host, through its shell, quoted by lib/quote.ts. */
  | { kind: 'remote'; host: string; argv: Value[]; stdin?: Value; sudo?: boolean; deadline: number }
  /** A file on a host: written beside it, owner and mode set, renamed. `{file}` is one of this machine, and is streamed. */
  | {
      kind: 'upload';
      host: string;
      path: string;
      content: Value | { file: string; sha256?: string };
      mode: string;
      owner?: string;
      deadline?: number;
    }
  /** A file on this machine: written beside it, mode set, fsynced, renamed. */
  | { kind: 'write'; path: string; content: Value; mode?: number }
  /** A file fetched to this machine; its SHA-256 is compared with (or recorded in) homelab.lock.yaml. */
  | { kind: 'download'; url: string; to: string; sha256?: string; deadline: number }
  /** A secret of this lab, made once (`bytes` random bytes in hex) and kept in .state at 0600. */
  | { kind: 'secret'; name: string; bytes: number }
  /** A call of the Proxmox API; when it answers with a task, the task is waited for. */
  | {
      kind: 'pve';
      method: 'POST' | 'PUT' | 'DELETE';
      path: string;
      params?: Record<string, string | number | boolean>;
      deadline: number;
    }
  /** Objects applied server-side under our field manager, or deleted. Refusals of webhooks that do not serve yet are retried until the deadline. */
  | {
      kind: 'kube';
      verb: 'apply' | 'delete';
      objects: KubeObject[];
      secrets?: Record<string, Value>;
      /** Takes over fields that others have set: only where homelab.yaml alone says what they are. */
      force?: boolean;
      deadline: number;
    }
  | { kind: 'wait'; for: Condition; deadline: number }
  /** A named operation of the script (Script.operations), for what is neither a command nor a call. A last resort. */
  | { kind: 'operation'; name: string; args: Record<string, unknown>; deadline: number };

export type Step = {
  /** Unique in its plan and stable between runs: "k3s-cp-01/config". */
  id: string;
  /** What a person reads: "write /etc/rancher/k3s/config.yaml". */
  title: string;
  /** Why it is needed: "absent", "tls-san differs". */
  why: string;
  /** The machine that it is about, by its name in homelab.yaml; what --limit selects. */
  host?: string;
  /** Ids of the steps that must have succeeded before. */
  after?: string[];
  /** Steps of one lane never run side by side (Proxmox locks a node's storage, etcd takes one learner). */
  lane?: string;
  /** What it does, thing by thing, where a title cannot say it: "create k3s-cp-01 (VM 200 on pve-02: 4 cores, …)". */
  does?: string[];
  /** What would be lost. Such a step needs names typed, or given with --confirm. */
  destroys?: string[];
  /** The names that must be typed before it destroys; left out: the lab's. */
  confirm?: string[];
  action: Action;
};

export type Note = {
  /** A blocker stops apply with exit code 1; --dry-run and --check show it and go on. */
  level: 'info' | 'warning' | 'blocker';
  text: string;
  fix?: string;
  /** Who has to do something, or answer, first: a script of the chain, or Proxmox, or a run under way. While that is so, `check` calls it no failure. */
  waitsFor?: WaitsFor;
  /** The machine that it is about; the steps of all others were planned from what was seen. */
  host?: string;
};

export type WaitsFor =
  | 'Proxmox'
  | 'a task of Proxmox'
  | 'another run'
  | 'build-template'
  | 'provision'
  | 'install-k3s'
  | 'setup-nfs';

export type Plan = { steps: Step[]; notes: Note[] };

/** One claim that was tried, and what came of it. */
export type Proof = {
  claim: string;
  ok: boolean;
  /** What was seen: "301 → 200, certificate for myapp.codeofficer.com". */
  detail: string;
  host?: string;
  /** Not tried, and why in `detail`: counts neither as proven nor as failed. */
  skipped?: boolean;
};

export const noSteps: Plan = { steps: [], notes: [] };

/** Plans of parts, as one. */
export function joinPlans(...plans: Plan[]): Plan {
  return { steps: plans.flatMap((p) => p.steps), notes: plans.flatMap((p) => p.notes) };
}

/** Ids of references (`{from}`) in a value, so that a plan can be checked before it runs. */
export function references(value: Value): string[] {
  if (typeof value === 'string' || 'secret' in value) return [];
  return 'from' in value ? [value.from] : value.join.flatMap(references);
}

/**
 * Checks a plan's shape: ids unique, every `after` known, no cycle.
 * @returns the steps in an order in which they could run one by one
 * @throws Error (a defect of the planner, not of the user)
 */
export function inOrder(plan: Plan): Step[] {
  const byId = new Map<string, Step>();
  for (const step of plan.steps) {
    if (byId.has(step.id)) throw new Error(`two steps have the id ${step.id}`);
    byId.set(step.id, step);
  }
  const ordered: Step[] = [];
  const state = new Map<string, 'open' | 'done'>();
  const visit = (step: Step, path: string[]): void => {
    if (state.get(step.id) === 'done') return;
    if (state.get(step.id) === 'open') throw new Error(`steps wait for each other: ${[...path, step.id].join(' → ')}`);
    state.set(step.id, 'open');
    for (const id of step.after ?? []) {
      const before = byId.get(id);
      if (!before) throw new Error(`${step.id} is after ${id}, which is not in the plan`);
      visit(before, [...path, step.id]);
    }
    state.set(step.id, 'done');
    ordered.push(step);
  };
  for (const step of plan.steps) visit(step, []);
  return ordered;
}
