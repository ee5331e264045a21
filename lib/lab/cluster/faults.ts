/** What goes wrong on request. Set a field, run, clear it. */
export type Faults = {
  /** Every API request ends with this error: "etcdserver: request timed out". */
  api?: string;
  /** MetalLB's webhook has no endpoints although its controller is ready. */
  metallbWebhook?: boolean;
  /** What helm says, by chart: the install job fails with it. */
  helm: Record<string, string>;
  /** What stands in a Challenge for as long as it is set: cert-manager tries again and again. */
  acme?: string;
  /** What the ACME server says to an Order: it has failed, and cert-manager waits an hour before the next. */
  acmeOrder?: string;
  /** Images that no registry has. */
  images: string[];
  /** Milliseconds that an hour of a Job's deadline takes; left out: an hour. */
  jobHour?: number;
  /** Nodes whose kubelet never gets ready. */
  notReady: string[];
  /** Units ("k3s-cp-01/k3s") that fail to start, with the words in their journal. */
  units: Record<string, string>;
  /** Units that take so many milliseconds to start: time enough for a power cut. */
  slow: Record<string, number>;
  /** Connections that a firewall drops, by names of hosts. */
  blocked: { from: string; to: string; port: number }[];
  /** Seconds by which the clocks of hosts are ahead. */
  clocks: Record<string, number>;
};

export function noFaults(): Faults {
  return { helm: {}, images: [], notReady: [], units: {}, slow: {}, blocked: [], clocks: {} };
}
