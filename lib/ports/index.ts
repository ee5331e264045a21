import { existsSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import type { Settings } from '../config/env.ts';
import { UsageError } from '../errors.ts';
import type { Lab } from '../lab-context.ts';
import type { Secrets } from '../secret.ts';
import { type Endpoints, endpointsFromFile, realEndpoints } from './endpoints.ts';
import { realExec } from './exec.ts';
import { realFiles } from './files.ts';
import { connectKube } from './kube.ts';
import { realNet } from './net.ts';
import { connectPve } from './pve.ts';
import { connectSsh } from './ssh.ts';
import type { Ports } from './types.ts';

/** What a port may need of the run that it serves. */
export type PortContext = {
  lab: Lab;
  secrets: Secrets;
  settings: Settings;
  endpoints: Endpoints;
  /** Says what only --verbose shows. */
  detail?: (text: string) => void;
};

/** The world, for one run. Each port connects when it is first used. */
export function buildPorts(
  lab: Lab,
  secrets: Secrets,
  settings: Settings,
  detail?: (text: string) => void,
): Ports & { endpoints: Endpoints } {
  const here = localPorts(lab.paths.root, settings);
  const context: PortContext = { lab, secrets, settings, endpoints: here.endpoints, detail };
  const ssh = connectSsh(context);
  return { ...here, ssh, pve: connectPve(context), kube: connectKube(context, ssh), close: () => ssh.close() };
}

/** The ports that need to know nothing of a lab but its folder: also there where its homelab.yaml is wrong. */
export function localPorts(
  root: string,
  settings: Settings,
): Pick<Ports, 'exec' | 'files' | 'net' | 'clock'> & { endpoints: Endpoints } {
  const table = settings.HOMELAB_ENDPOINTS && resolve(root, settings.HOMELAB_ENDPOINTS);
  if (table && !existsSync(table))
    throw new UsageError(`HOMELAB_ENDPOINTS names ${table}, which is not there`, {
      fix: 'only the .env of a rehearsal, which runs, has this line: take it out of that of a real lab',
    });
  // A rehearsal that lost its .env must not dial what its homelab.yaml says.
  if (!table && existsSync(join(root, 'endpoints.json')))
    throw new UsageError(`${root} is a rehearsal's (endpoints.json), and its .env does not say so`, {
      fix: 'run make rehearse again; a real lab has no endpoints.json',
    });
  const endpoints = table ? endpointsFromFile(table) : realEndpoints;
  const exec = realExec(endpoints.rehearsal ? rehearsalEnvironment(root, settings) : process.env);
  return {
    exec,
    endpoints,
    files: realFiles(exec),
    net: realNet(endpoints, endpoints.rehearsal ? join(root, 'lab-ca.pem') : undefined),
    clock: { now: () => new Date(), sleep: (seconds) => new Promise((done) => setTimeout(done, seconds * 1000)) },
  };
}

/** In a rehearsal stand-ins in bin/ come before the machine's programs, and Go programs trust the lab's CA. */
function rehearsalEnvironment(root: string, settings: Settings): NodeJS.ProcessEnv {
  const folder = dirname(resolve(root, settings.HOMELAB_ENDPOINTS ?? ''));
  return {
    ...process.env,
    PATH: `${join(folder, 'bin')}:${process.env.PATH ?? ''}`,
    SSL_CERT_FILE: join(folder, 'lab-ca.pem'),
    TF_CLI_CONFIG_FILE: join(folder, 'terraform.rc'),
  };
}
