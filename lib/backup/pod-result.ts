/** What a pod says at its end, for who started its Job. */
export type PodResult = {
  server: string;
  exit: number;
  /** Ids of targets by the file that remembers them, so that who started the Job can tell the next ones. */
  targets?: Record<string, string>;
  /** The newest proven set. */
  set?: string;
  proven?: { databases: number; tables: number; rows: number; seconds: number };
  error?: string;
};

const MARK = 'homelab-backup-result ';

/** The last line of a pod's log. */
export function resultLine(result: PodResult): string {
  return MARK + JSON.stringify(result);
}

/** The result in a log, where it has come to one. */
export function resultIn(log: string): PodResult | undefined {
  const line = log.split('\n').findLast((one) => one.startsWith(MARK));
  if (line === undefined) return undefined;
  try {
    return JSON.parse(line.slice(MARK.length)) as PodResult;
  } catch {
    return undefined;
  }
}
