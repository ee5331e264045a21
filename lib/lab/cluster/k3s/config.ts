import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import type { LabHost } from '../../types.ts';
import { isRecord } from '../api/thing.ts';
import { flagsOf, type Role } from './flags.ts';

/** What a K3s process was told: config.yaml, config.yaml.d, then K3S_* of its env file, then the flags of its unit file. */
export type K3sConfig = {
  text(flag: string): string | undefined;
  list(flag: string): string[];
  on(flag: string): boolean;
};

/** The configuration itself is wrong: K3s logs these words and ends. */
export class ConfigError extends Error {}

/**
 * Reads a host's configuration. Stricter than K3s in one thing: K3s skips a key that it does not know with a
 * warning, and the emulator ends, so that a mistyped key is found in a rehearsal.
 * @param file instead of config.yaml: --config
 * @throws ConfigError
 */
export function readConfig(host: LabHost, role: Role, file = '/etc/rancher/k3s/config.yaml'): K3sConfig {
  const unit = role === 'server' ? 'k3s' : 'k3s-agent';
  const given: Record<string, string[]> = {};
  const set = (flag: string, values: string[]): void => {
    const form = flagsOf[role].get(flag);
    if (!form) throw new ConfigError(`Unknown flag --${flag} found in config.yaml`);
    if (form !== 'list' && values.length !== 1) throw new ConfigError(`flag --${flag} takes one value, not a list`);
    if (form === 'switch' && !['true', 'false'].includes(values[0] ?? ''))
      throw new ConfigError(`invalid value "${values[0]}" for flag -${flag}: parse error`);
    given[flag] = form === 'list' ? [...(given[flag] ?? []), ...values] : values;
  };
  for (const path of [file, ...dropIns(host, file)])
    for (const [flag, values] of fromFile(host.readFile(path))) set(flag, values);
  for (const [flag, values] of fromEnvironment(host.readFile(`/etc/systemd/system/${unit}.service.env`)))
    set(flag, values);
  for (const [flag, values] of fromUnitFile(host.readFile(`/etc/systemd/system/${unit}.service`))) set(flag, values);
  return {
    text: (flag) => given[flag]?.at(-1),
    list: (flag) => (given[flag] ?? []).flatMap((value) => (flag === 'disable' ? value.split(',') : [value])),
    on: (flag) => given[flag]?.at(-1) === 'true',
  };
}

/** Files of config.yaml.d, in their order; what they say counts more. */
function dropIns(host: LabHost, file: string): string[] {
  const folder = join(host.root, `${file}.d`);
  const names = existsSync(folder) ? readdirSync(folder) : [];
  return names
    .filter((name) => name.endsWith('.yaml'))
    .sort()
    .map((name) => `${file}.d/${name}`);
}

function fromFile(text: string | undefined): [string, string[]][] {
  if (text === undefined || text.trim() === '') return [];
  const document = parseDocument(text);
  const [problem] = document.errors;
  if (problem)
    throw new ConfigError(
      `failed to parse config file /etc/rancher/k3s/config.yaml: yaml: ${problem.message.split('\n')[0]}`,
    );
  const value: unknown = document.toJS();
  if (!isRecord(value))
    throw new ConfigError('failed to parse config file /etc/rancher/k3s/config.yaml: not a mapping');
  return Object.entries(value).map(([key, entry]) => {
    const values = Array.isArray(entry) ? entry : [entry];
    if (values.some((item) => item === null || typeof item === 'object'))
      throw new ConfigError(
        `failed to parse config file /etc/rancher/k3s/config.yaml: ${key} is neither a value nor a list of values`,
      );
    // "node-label+" appends, as does "node-label" after it.
    return [key.replace(/\+$/, ''), values.map(String)];
  });
}

const VARIABLES: Record<string, string> = {
  K3S_TOKEN: 'token',
  K3S_TOKEN_FILE: 'token-file',
  K3S_URL: 'server',
  K3S_NODE_NAME: 'node-name',
  K3S_KUBECONFIG_MODE: 'write-kubeconfig-mode',
};

function fromEnvironment(text = ''): [string, string[]][] {
  return text.split('\n').flatMap((line): [string, string[]][] => {
    const [, name = '', value = ''] = /^(\w+)=["']?(.*?)["']?$/.exec(line.trim()) ?? [];
    const flag = VARIABLES[name];
    return flag && value ? [[flag, [value]]] : [];
  });
}

/** The words after `k3s server` in ExecStart, each in quotes on a line of its own. */
function fromUnitFile(text = ''): [string, string[]][] {
  const start = /^ExecStart=([\s\S]*?[^\\])$/m.exec(text)?.[1] ?? '';
  const words = start
    .split(/[\s\\]+/)
    .map((word) => word.replace(/^'(.*)'$/, '$1'))
    .filter(Boolean)
    .slice(2);
  const flags: [string, string[]][] = [];
  for (let word = words.shift(); word !== undefined; word = words.shift()) {
    const [, name = '', value] = /^--?([^=]+)(?:=(.*))?$/.exec(word) ?? [];
    if (!name) throw new ConfigError(`No help topic for '${word}'`);
    const bare = value === undefined && (words[0] === undefined || words[0].startsWith('-'));
    flags.push([name, [value ?? (bare ? 'true' : (words.shift() ?? ''))]]);
  }
  return flags;
}

/** What must be the same on all servers, by the names that K3s gives it in its log. */
export function criticalOf(config: K3sConfig): Record<string, string> {
  const listed = (flag: string, otherwise = ''): string => config.list(flag).toSorted().join(',') || otherwise;
  return {
    'cluster-cidr': listed('cluster-cidr', '10.42.0.0/16'),
    'service-cidr': listed('service-cidr', '10.43.0.0/16'),
    'cluster-dns': listed('cluster-dns'),
    'cluster-domain': config.text('cluster-domain') ?? 'cluster.local',
    disable: listed('disable'),
    'flannel-backend': config.text('flannel-backend') ?? 'vxlan',
    'secrets-encryption': String(config.on('secrets-encryption')),
    'egress-selector-mode': config.text('egress-selector-mode') ?? 'agent',
    'disable-network-policy': String(config.on('disable-network-policy')),
    'disable-kube-proxy': String(config.on('disable-kube-proxy')),
    'disable-helm-controller': String(config.on('disable-helm-controller')),
    'disable-cloud-controller': String(config.on('disable-cloud-controller')),
  };
}
