import { hostname } from 'node:os';
import { dirname } from 'node:path';
import { HEALTHCHECK_URL, lenientEnv, postgresPassword } from '../config/env.ts';
import { type LooseNotify, looseNotify } from '../config/notify.ts';
import type { Notify } from '../config/schema.ts';
import { messageOf } from '../errors.ts';
import { type Lab, openLab } from '../lab-context.ts';
import type { Call, Outcome, OutcomeHook } from '../outcome.ts';
import { labPaths } from '../paths.ts';
import { localPorts } from '../ports/index.ts';
import { merged, metricsText, parseMetrics, samplesOf } from '../render/backup-metrics.ts';
import { endNotice, type Notice, startNotice } from '../render/backup-notice.ts';
import type { Secrets } from '../secret.ts';
import { type StandingsNow, standingsNow } from './notify-look.ts';
import { type Messenger, send } from './notify-send.ts';

/** Tells of the runs of backup-postgres, as backup.notify says. */
export const tellBackup: OutcomeHook = {
  async started(call) {
    const known = knownOf(call);
    if (known) await send(known, startNotice(aboutOf(call, known)));
  },
  async ended(call, outcome) {
    const known = knownOf(call);
    if (!known) return;
    const seen = known.lab && (await standingsNow(known.lab, known.ports));
    await Promise.all([
      send(known, endNotice(aboutOf(call, known), outcome, seen?.standings ?? [])),
      writeMetrics(known, seen, call, outcome),
    ]);
  },
};

/** What is known of the lab that a run was of. */
type Known = Messenger & {
  name: string;
  notify: Notify;
  servers: readonly string[];
  ports: ReturnType<typeof localPorts>;
  /** Missing where homelab.yaml is wrong. */
  lab?: Lab;
};

/** Undefined where nobody is to be told, or homelab.yaml does not even say who. */
function knownOf({ opened, flags, say }: Call): Known | undefined {
  const messenger = (secrets: Secrets, root: string, notify: Notify, ports: Known['ports']) => ({
    ...{ ports, root, notify, url: secrets.get(HEALTHCHECK_URL) },
    redact: (text: string) => secrets.redact(text),
    warn: (text: string) => say(secrets.redact(`warning: ${text}`)),
  });
  if (opened) {
    const { lab, ports, context } = opened;
    const notify = lab.config.backup?.notify;
    if (!notify) return undefined;
    const here = { ...ports, endpoints: context.endpoints };
    return { ...messenger(context.secrets, lab.paths.root, notify, here), ...namesOf(lab), lab };
  }
  const loose = looseNotify(flags.config);
  if (!loose) return undefined;
  const { root, env } = labPaths(flags.config, loose.lab);
  const { secrets, settings } = lenientEnv(env, process.env, [HEALTHCHECK_URL, ...loose.servers.map(postgresPassword)]);
  const ports = localPorts(root, settings);
  return { ...messenger(secrets, root, loose.notify, ports), ...looseNames(loose, openLeniently(flags.config)) };
}

function namesOf({ config }: Lab): Pick<Known, 'name' | 'servers'> {
  return { name: config.name, servers: config.backup?.postgresql.map(({ name }) => name) ?? [] };
}

function looseNames(
  { lab: name, servers }: LooseNotify,
  lab: Lab | undefined,
): Pick<Known, 'name' | 'servers' | 'lab'> {
  return lab ? { ...namesOf(lab), lab } : { name, servers };
}

/** It may have been a secret, or an option, that was missing; homelab.yaml itself is right then. */
function openLeniently(config: string): Lab | undefined {
  try {
    return openLab(config, process.env).lab;
  } catch {
    return undefined;
  }
}

function aboutOf({ id }: Call, { name, ports }: Known): Pick<Notice, 'lab' | 'run' | 'host' | 'time'> {
  return { lab: name, run: id, host: hostname(), time: ports.clock.now().toISOString() };
}

/** Replaces the file in one rename. What was known of a server that this run did not see stays. */
async function writeMetrics(known: Known, seen: StandingsNow | undefined, call: Call, outcome: Outcome): Promise<void> {
  const { notify, ports, name, lab, servers, warn } = known;
  const file = notify.metrics_file;
  if (file === undefined) return;
  // A folder that we made is read by nobody: what reads the file has made its own.
  if (!(await ports.files.exists(dirname(file)).catch(() => false)))
    return warn(`backup.notify.metrics_file: ${dirname(file)} is not there; make it, or write the folder that is read`);
  try {
    const asked = call.args.server as string[] | undefined;
    const fresh = samplesOf(
      name,
      { standings: [], ...seen, maxAgeHours: lab?.config.backup?.max_age_hours },
      { servers: servers.filter((server) => !asked || asked.includes(server)), began: call.began, outcome },
    );
    const before = parseMetrics((await ports.files.text(file)) ?? '');
    await ports.files.write(file, metricsText(merged(before, fresh, name, lab && servers)), 0o644);
  } catch (error) {
    warn(`backup.notify.metrics_file: ${messageOf(error)}`);
  }
}
