import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { HEALTHCHECK_URL } from '../config/secret-names.ts';
import type { Outcome } from '../outcome.ts';
import { realEndpoints } from '../ports/endpoints.ts';
import { realNet } from '../ports/net.ts';
import type { Ports } from '../ports/types.ts';
import { endNotice, type Notice, startNotice } from '../render/backup-notice.ts';
import type { Secrets } from '../secret.ts';
import { standingsNow } from './notify-look.ts';
import { type Messenger, send } from './notify-send.ts';
import type { BackupLab } from './target.ts';

/** Tells of a pod's run. Only the healthcheck hears of it: programs and a metrics file are those of a machine. */
export type PodTeller = { started(): Promise<void>; ended(outcome: Outcome): Promise<void> };

/** @param warn says what went wrong while telling, in the pod's log */
export function podTeller(
  lab: BackupLab,
  secrets: Secrets,
  ports: Pick<Ports, 'exec' | 'files' | 'clock'>,
  warn: (text: string) => void,
): PodTeller {
  const healthcheck = lab.config.backup?.notify?.healthcheck ?? false;
  const run = randomUUID();
  const about = (): Pick<Notice, 'lab' | 'run' | 'host' | 'time'> => ({
    ...{ lab: lab.config.name, run, host: hostname(), time: ports.clock.now().toISOString() },
  });
  const messenger: Messenger = {
    ports: { ...ports, net: realNet(realEndpoints) },
    notify: { healthcheck, timeout_seconds: 20 },
    url: secrets.get(HEALTHCHECK_URL),
    root: '/',
    redact: (text) => secrets.redact(text),
    warn,
  };
  let starting = Promise.resolve();
  return {
    started() {
      if (healthcheck) starting = send(messenger, startNotice(about()));
      return starting;
    },
    async ended(outcome) {
      if (!healthcheck) return;
      await starting;
      const seen = await standingsNow(lab, { ...ports, endpoints: realEndpoints });
      await send(messenger, endNotice(about(), outcome, seen?.standings ?? []));
    },
  };
}
