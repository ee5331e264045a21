import { randomBytes, randomUUID } from 'node:crypto';
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { type Document, isMap, isSeq, parseDocument } from 'yaml';
import { postgresPassword } from '../config/env.ts';
import { loadConfig } from '../config/load.ts';
import type { Config } from '../config/schema.ts';
import type { LabCa } from './ca.ts';
import type { Found } from './components.ts';
import { makeSshKey } from './ssh-key.ts';

/** The folder of a rehearsal: a lab like any other, whose .env names an endpoint table. */
export type Workspace = {
  folder: string;
  /** Its homelab.yaml. */
  configFile: string;
  config: Config;
  tokenSecret: string;
  cloudflareToken: string;
  postgresPasswords: Record<string, string>;
  /** Public half of the key that the scripts offer. */
  publicKey: string;
  endpointsFile: string;
};

/**
 * Makes the folder anew. What it changes in the copy of homelab.yaml: the SSH key and the pin of Proxmox's
 * certificate are the rehearsal's own.
 * @param key the SSH key that the scripts offer
 */
export function makeWorkspace(
  configFile: string,
  folder: string,
  ca: LabCa,
  found: Found,
  key = makeSshKey('rehearsal'),
): Workspace {
  clear(folder);
  mkdirSync(join(folder, 'bin'), { recursive: true, mode: 0o700 });
  const file = (name: string): string => join(folder, name);

  const document = parseDocument(readFileSync(configFile, 'utf8'));
  document.setIn(['ssh', 'key'], './id_ed25519');
  document.setIn(['proxmox', 'ca_file'], 'pve-root-ca.pem');
  dropFingerprints(document);
  document.commentBefore = ` A copy for the rehearsal, made by scripts/rehearse.ts. ssh.key and proxmox.ca_file are its own.\n${document.commentBefore ?? ''}`;
  writeFileSync(file('homelab.yaml'), document.toString({ lineWidth: 0 }));
  const { config } = loadConfig(file('homelab.yaml'));

  writeFileSync(file('pve-root-ca.pem'), ca.certificate);
  writeFileSync(file('lab-ca.pem'), ca.certificate);
  writePrivate(file('id_ed25519'), key.private);
  writeFileSync(file('id_ed25519.pub'), `${key.public}\n`);
  writeFileSync(file('terraform.rc'), terraformRc(found.providerMirror));

  const tokenSecret = randomUUID();
  const cloudflareToken = randomBytes(20).toString('hex');
  const postgresPasswords = Object.fromEntries(
    (config.backup?.postgresql ?? []).map(({ name }) => [name, randomBytes(12).toString('hex')]),
  );
  const env = {
    HOMELAB_ENDPOINTS: 'endpoints.json',
    ...(found.packerTemplate ? { HOMELAB_PACKER_DIR: found.packerTemplate, PROXMOX_PASSWORD: tokenSecret } : {}),
    PROXMOX_TOKEN_SECRET: tokenSecret,
    CLOUDFLARE_API_TOKEN: cloudflareToken,
    ...Object.fromEntries(
      Object.entries(postgresPasswords).map(([name, password]) => [postgresPassword(name), password]),
    ),
  };
  writePrivate(
    file('.env'),
    Object.entries(env)
      .map(([name, value]) => `${name}=${value}\n`)
      .join(''),
  );

  return {
    folder,
    configFile: file('homelab.yaml'),
    config,
    tokenSecret,
    cloudflareToken,
    postgresPasswords,
    publicKey: key.public,
    endpointsFile: file('endpoints.json'),
  };
}

/** Removes an earlier rehearsal; refuses a folder that is none. */
function clear(folder: string): void {
  const known = ['endpoints.json', 'homelab.yaml'].every((name) => existsSync(join(folder, name)));
  if (existsSync(folder) && !known && existsSync(join(folder, '.env')))
    throw new Error(`${folder} is not a rehearsal's`);
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(dirname(folder), { recursive: true });
  mkdirSync(folder, { mode: 0o700 });
}

function dropFingerprints(document: Document): void {
  const nodes = document.getIn(['proxmox', 'nodes']);
  if (!isSeq(nodes)) return;
  for (const node of nodes.items) if (isMap(node)) node.delete('fingerprint');
}

/** Terraform finds the provider on this machine or not at all: nothing is fetched in a rehearsal. */
function terraformRc(mirror: string | undefined): string {
  const source = mirror ? `filesystem_mirror {\n    path = ${JSON.stringify(mirror)}\n  }` : '';
  return `disable_checkpoint = true\nprovider_installation {\n  ${source}\n}\n`;
}

function writePrivate(file: string, text: string): void {
  writeFileSync(file, text, { mode: 0o600 });
  chmodSync(file, 0o600);
}
