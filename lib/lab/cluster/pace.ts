/** How long emulated things take, in milliseconds: short, but not nothing, so that a script that forgets to wait is caught. */
export type Pace = {
  /** Between a change and the controllers' next look. */
  tick: number;
  /** From the start of a unit until the API server answers, or the agent has joined. */
  unitStart: number;
  unitStop: number;
  /** From registration (or loss of the unit) until the node's Ready condition turns. */
  node: number;
  /** From a pod's binding to its Ready condition, or its completion. */
  pod: number;
  /** From MetalLB's controller being ready until its webhook serves. */
  webhook: number;
  /** From a Certificate until its Secret. */
  certificate: number;
  /** From a node's loss until its pods are replaced. */
  eviction: number;
  /** Until what failed (a mount, a provisioning) is tried again. */
  retry: number;
};

export const defaultPace: Pace = {
  tick: 10,
  unitStart: 40,
  unitStop: 15,
  node: 30,
  pod: 30,
  webhook: 200,
  certificate: 50,
  eviction: 400,
  retry: 500,
};
