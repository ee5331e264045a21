/** What goes wrong on request. Set a field, run, clear it. */
export type Faults = {
  /** Every API request ends with this error: "etcdserver: request timed out". */
  api?: string;
  /** MetalLB's webhook has no endpoints although its controller is ready. */
  metallbWebhook?: boolean;
  /** What helm says, by chart: the install job fails with it. */
  helm: Record<string, string>;
  /** What the ACME server says: no certificate is issued. */
  acme?: string;
  /** Nodes whose kubelet never gets ready. */
  notReady: string[];
  /** Units ("k3s-cp-01/k3s") that fail to start, with the words in their journal. */
  units: Record<string, string>;
};

export function noFaults(): Faults {
  return { helm: {}, notReady: [], units: {} };
}
