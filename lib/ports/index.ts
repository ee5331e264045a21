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
export type PortContext = { lab: Lab; secrets: Secrets; settings: Settings; endpoints: Endpoints };

/** The world, for one run. Each port connects when it is first used. */
export function buildPorts(lab: Lab, secrets: Secrets, settings: Settings): Ports & { endpoints: Endpoints } {
  const table = settings.HOMELAB_ENDPOINTS && resolve(lab.paths.root, settings.HOMELAB_ENDPOINTS);
  if (table && !existsSync(table))
    throw new UsageError(`HOMELAB_ENDPOINTS names ${table}, which is not there`, {
      fix: 'only the .env of a rehearsal, which runs, has this line: take it out of that of a real lab',
    });
  // A rehearsal that lost its .env must not dial what its homelab.yaml says.
  if (!table && existsSync(join(lab.paths.root, 'endpoints.json')))
    throw new UsageError(`${lab.paths.root} is a rehearsal's (endpoints.json), and its .env does not say so`, {
      fix: 'run make rehearse again; a real lab has no endpoints.json',
    });
  const endpoints = table ? endpointsFromFile(table) : realEndpoints;
  const context: PortContext = { lab, secrets, settings, endpoints };
  const exec = realExec(endpoints.rehearsal ? rehearsalEnvironment(lab, settings) : process.env);
  const ssh = connectSsh(context);
  return {
    exec,
    ssh,
    endpoints,
    files: realFiles(exec),
    net: realNet(endpoints, endpoints.rehearsal ? join(lab.paths.root, 'lab-ca.pem') : undefined),
    pve: connectPve(context),
    kube: connectKube(context, ssh),
    clock: { now: () => new Date(), sleep: (seconds) => new Promise((done) => setTimeout(done, seconds * 1000)) },
    close: () => ssh.close(),
  };
}

/** In a rehearsal stand-ins in bin/ come before the machine's programs, and Go programs trust the lab's CA. */
function rehearsalEnvironment(lab: Lab, settings: Settings): NodeJS.ProcessEnv {
  const folder = dirname(resolve(lab.paths.root, settings.HOMELAB_ENDPOINTS ?? ''));
  return {
    ...process.env,
    PATH: `${join(folder, 'bin')}:${process.env.PATH ?? ''}`,
    SSL_CERT_FILE: join(folder, 'lab-ca.pem'),
    TF_CLI_CONFIG_FILE: join(folder, 'terraform.rc'),
  };
}
