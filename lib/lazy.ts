import type { Args, Script } from './main.ts';

type Beats<Seen, A extends Args> = Pick<
  Script<Seen, A>,
  'observe' | 'plan' | 'operations' | 'explain' | 'verify' | 'report'
>;
type Loaders<Seen, A extends Args> = {
  observe: () => Promise<Script<Seen, A>['observe']>;
  plan: () => Promise<Script<Seen, A>['plan']>;
  operations?: () => Promise<NonNullable<Script<Seen, A>['operations']>>;
  explain?: () => Promise<NonNullable<Script<Seen, A>['explain']>>;
  verify?: () => Promise<NonNullable<Script<Seen, A>['verify']>>;
  report?: () => Promise<NonNullable<Script<Seen, A>['report']>>;
};

/**
 * The beats of a script, each loaded when it is needed: `--help` and a wrong call answer at once.
 * @example ...lazily({ observe: async () => (await import('../lib/observe/k3s.ts')).observeK3s, plan: … })
 */
export function lazily<Seen, A extends Args>(load: Loaders<Seen, A>): Beats<Seen, A> {
  let later: Pick<Beats<Seen, A>, 'plan' | 'operations' | 'explain' | 'report'> | undefined;
  const loaded = (): NonNullable<typeof later> => {
    if (!later) throw new Error('a plan needs what was observed');
    return later;
  };
  return {
    observe: async (...args) => {
      // A plan is made of what was observed, so its planner is there before it is called.
      const [observe, plan, operations, explain, report] = await Promise.all([
        load.observe(),
        load.plan(),
        load.operations?.(),
        load.explain?.(),
        load.report?.(),
      ]);
      later = { plan, operations, explain, report };
      return observe(...args);
    },
    plan: (...args) => loaded().plan(...args),
    operations: load.operations && ((...args) => loaded().operations?.(...args) ?? {}),
    explain: load.explain && ((output) => loaded().explain?.(output)),
    report: load.report && ((...args) => loaded().report?.(...args)),
    verify: load.verify && (async (...args) => (await load.verify!())(...args)),
  };
}
