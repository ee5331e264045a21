import { z } from 'zod';
import { backupSchema } from './schema-backup.ts';
import { absolutePath, domain, exportRef, folder, label, schedule } from './schema-values.ts';

/**
 * What homelab.yaml may say, key by key. Only the form is checked here; what several keys must
 * be to each other (an address inside the subnet, a node that exists) is in rules.ts.
 * The descriptions become the hovers of the JSON Schema (templates/homelab.schema.json).
 */

const word = z.string().regex(/^[A-Za-z0-9][A-Za-z0-9._-]*$/, 'must be a plain word: letters, digits, ".", "_", "-"');
/** Addresses and ranges are strings here and parsed in rules.ts, which knows the subnet. */
const address = z.string().min(1).describe('an IP address');
const range = z.string().min(1).describe('FIRST-LAST, both included');
const cidr = z.string().min(1).describe('a network, such as 10.20.11.0/24');
const vmid = z.int().min(100, 'Proxmox VMIDs start at 100').max(999_999_999);
const version = z.string().regex(/^v?\d+\.\d+\.\d+$/, 'must be a full version, such as 0.16.1');
/** Of a label or a taint, with or without a domain before it. A kubelet refuses to start with others. */
const KEY =
  /([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?/;
const VALUE = /([A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?)?/;
const labelKey = z.string().regex(whole(KEY));
const labelValue = z
  .string()
  .regex(whole(VALUE), 'is not the value of a label; use letters, digits, ".", "_" and "-" (at most 63)');
const TAINT = whole(new RegExp(`${KEY.source}(=${VALUE.source})?:(NoSchedule|PreferNoSchedule|NoExecute)`));
const K3S_VERSION = /^v1\.\d{1,2}\.\d{1,2}(-rc\d+)?\+k3s\d+$/;

const host = z.strictObject({
  name: label,
  address,
  note: z.string().optional(),
});

const network = z.strictObject({
  vlan: z.int().min(1).max(4094).optional().describe('VLAN tag of the network card of the VMs'),
  subnet: cidr,
  gateway: address,
  dns: z.array(address).min(1),
  dhcp: z.array(range).default([]).describe('ranges that the router hands out'),
  hosts: z.array(host).default([]).describe('what else has a fixed address'),
  ranges: z.strictObject({ server: range, agent: range }),
});

const proxmoxNode = z.strictObject({
  name: label,
  address,
  fingerprint: z
    .string()
    .regex(/^([0-9A-Fa-f]{2}:){31}[0-9A-Fa-f]{2}$/, 'must be a SHA-256 fingerprint: 32 pairs of hex digits with ":"')
    .optional(),
  gpus: z.array(word).default([]).describe('PCI resource mappings that exist on this node'),
});

const storage = z.strictObject({
  name: word,
  content: z.array(z.enum(['images', 'iso', 'backup', 'snippets', 'rootdir', 'vztmpl', 'import'])).min(1),
  shared: z.boolean().default(false),
  export: exportRef.optional().describe('the NAS export behind this storage'),
});

const proxmox = z.strictObject({
  port: z.int().min(1).max(65535).default(8006),
  token_id: z.string().regex(/^[^@\s!]+@[^@\s!]+![A-Za-z0-9._-]+$/, 'must be USER@REALM!TOKEN'),
  ca_file: z.string().min(1).optional().describe('PEM file with the CA of the cluster, relative to homelab.yaml'),
  bridge: word,
  nodes: z.array(proxmoxNode).min(1),
  storages: z.array(storage).min(1),
});

const template = z.strictObject({
  name: z.string().regex(/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/, 'is not a DNS name'),
  vmid,
  build_node: label,
  iso: z.strictObject({
    url: z
      .url({ protocol: /^https$/, error: 'must be an https:// URL' })
      // Proxmox makes "_" of anything else in the name, and the file is not found again.
      .regex(
        /^[\x21-\x7e]*\/[A-Za-z0-9._-]+\.(iso|img)(\?[\x21-\x7e]*)?$/i,
        'must end with the name of an .iso; use letters, digits, ".", "_" and "-" in it',
      ),
    sha256: z.string().regex(/^[0-9a-f]{64}$/, 'must be 64 lower-case hex digits'),
    storage: word,
  }),
  storage: word,
  disk_gib: z.int().min(8).max(2048),
  user: z.string().regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'must be a Linux user name'),
  timezone: z
    .string()
    .regex(/^[A-Za-z0-9_+/-]+$/, 'must be a time zone, such as Europe/Berlin')
    .default('UTC'),
});

const ssh = z.strictObject({
  key: z.string().min(1).default('~/.ssh/id_ed25519'),
  proxmox_user: z
    .string()
    .regex(/^[a-z_][a-z0-9_-]{0,31}$/, 'must be a Linux user name')
    .default('root'),
});

const nas = z.strictObject({
  name: label,
  address,
  kind: z.enum(['linux', 'synology', 'unifi']),
  nfs_version: z.enum(['3', '4', '4.0', '4.1', '4.2']).default('4.1'),
  exports: z
    .array(
      z.strictObject({
        name: word,
        path: absolutePath,
        clients: z.array(label).min(1).describe('`proxmox`, `k3s`, `k3s-servers`, or names of single hosts'),
        mount: absolutePath.optional().describe('where the machine that runs the scripts has it mounted'),
      }),
    )
    .min(1),
});

const k3sNode = z.strictObject({
  name: label,
  role: z.enum(['server', 'agent']),
  node: label.describe('the Proxmox node it lives on'),
  vmid,
  cores: z.int().min(1).max(512),
  memory_gib: z.int().min(1).max(8192),
  disk_gib: z.int().min(8).max(65536),
  storage: word.optional(),
  gpu: word.optional().describe('a resource mapping of its Proxmox node'),
  labels: z.record(labelKey, labelValue).default({}),
  taints: z
    .array(
      z.string().regex(TAINT, 'is not the form of a taint, KEY=VALUE:EFFECT; write it like dedicated=gpu:NoSchedule'),
    )
    .default([]),
});

/** `~` is not expanded: what is not absolute is relative to homelab.yaml, on every machine alike. */
const localFile = z
  .string()
  .regex(/^[^~\0\n\r][^\0\n\r]*[^/\0\n\r]$/, 'must be the path of a file, absolute or relative to homelab.yaml');
const airgap = z.strictObject({
  binary: localFile.describe("K3s's binary of exactly k3s.version"),
  images: localFile
    .regex(
      /\/?[A-Za-z0-9._-]+\.(tar|tar\.gz|tgz|tar\.zst|tzst|tar\.lz4|tar\.bz2|tbz)$/,
      'must be an archive that K3s reads, such as k3s-airgap-images-amd64.tar.zst',
    )
    .describe('the archive of its images'),
  script: localFile.optional().describe('its install.sh; default: downloaded by this machine'),
});
const k3s = z.strictObject({
  version: z.string().regex(K3S_VERSION, 'is not the form of a K3s version; they look like v1.36.5+k3s1'),
  first_server: label,
  cluster_cidr: cidr.default('10.42.0.0/16'),
  service_cidr: cidr.default('10.43.0.0/16'),
  airgap: airgap.optional().describe('files of this machine, for nodes without the internet'),
  etcd_snapshots: z
    .strictObject({
      export: exportRef,
      path: folder,
      schedule,
      keep: z.int().min(1, 'must be at least 1').default(28),
    })
    .optional()
    .describe('where snapshots of etcd go, from every server'),
  nodes: z.array(k3sNode).min(1),
});

const storageClass = z.strictObject({
  name: label,
  default: z.boolean().default(false),
  export: exportRef.optional(),
  path: z.string().default('{namespace}-{pvc-name}'),
  csi_driver_nfs: version.optional(),
});

const ingress = z.strictObject({
  class: label,
  issuer: label,
  email: z.email(),
  dns01: z.enum(['cloudflare']),
  middleware: z
    .string()
    .regex(
      /^[a-z0-9]+-[a-z0-9]([a-z0-9-]*[a-z0-9])?@kubernetescrd$/,
      'must be NAMESPACE-NAME@kubernetescrd, the namespace without "-"',
    ),
  cert_manager: version,
});

export const configSchema = z.strictObject({
  name: label.describe('the name of the lab'),
  domain: domain.describe('public domain of the ingresses'),
  search_domain: domain,
  network,
  proxmox,
  template,
  ssh: ssh.prefault({}),
  nas: z.array(nas).min(1),
  k3s,
  metallb: z.strictObject({ version, pool: range }),
  storage_classes: z.array(storageClass).min(1),
  ingress,
  backup: backupSchema.optional(),
});

/** homelab.yaml, checked: nothing else in the program holds an unchecked one. */
export type Config = z.output<typeof configSchema>;
export type K3sNode = Config['k3s']['nodes'][number];
export type ProxmoxNode = Config['proxmox']['nodes'][number];
export type Nas = Config['nas'][number];
export type NasExport = Nas['exports'][number];
export type EtcdSnapshots = NonNullable<Config['k3s']['etcd_snapshots']>;
export type Backup = NonNullable<Config['backup']>;
export type SecondTarget = NonNullable<Backup['second_target']>;
export type BackupCronJob = NonNullable<Backup['cronjob']>;
export type PostgresServer = Backup['postgresql'][number];
export type Notify = NonNullable<Backup['notify']>;

function whole({ source }: RegExp): RegExp {
  return new RegExp(`^${source}$`);
}
