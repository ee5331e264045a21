import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { loadConfig, parseConfig } from '../lib/config/load.ts';
import { UsageError } from '../lib/errors.ts';
import { command, main } from '../lib/main.ts';
import { noSteps } from '../lib/step.ts';
import { captured } from './fixtures/capture.ts';

const FOLDER = new URL('./fixtures/invalid/', import.meta.url).pathname;
const SMALL = new URL('./fixtures/valid/small.yaml', import.meta.url).pathname;

/** What is said of each file of fixtures/invalid: LINE:COL: path: what is wrong; what to do. */
const SAID: Record<string, string[]> = {
  'address-outside-the-subnet': [
    '11:32: network.hosts[0].address: 192.0.3.21 (kvm-01) is outside the subnet 192.0.2.0/24; correct the address, or network.subnet',
  ],
  'address-that-is-none': [
    '11:32: network.hosts[0].address: "192.0.2.256" is not an IP address; write one, such as 192.0.2.10',
  ],
  'airgap-images-that-are-none': [
    '44:40: k3s.airgap.images: "files/images.zip" must be an archive that K3s reads, such as k3s-airgap-images-amd64.tar.zst; correct it',
  ],
  'anchor-bomb': ['1:1: its aliases (*x) multiply too often; write the values out'],
  'backup-at-no-time': [
    '61:13: backup.schedule: "0 25 * * *" is not a time of cron: Invalid value for hour: 25; write minute, hour, day of month, month and day of week, such as "0 3 * * *"',
  ],
  'backup-that-keeps-nothing': ['62:17: backup.keep.last: 0: must be at least 1; write 1 or more'],
  'backup-without-a-target': ['60:3: backup.target: is missing; add it: it must be a mapping of keys to values'],
  'broadcast-address-given': [
    '11:32: network.hosts[0].address: 192.0.2.255 (kvm-01) is the broadcast address of 192.0.2.0/24; give it another address',
  ],
  'broadcast-address-in-a-pool': [
    '48:35: metallb.pool: 192.0.2.200-192.0.2.255 contains 192.0.2.255, the broadcast address of 192.0.2.0/24; shorten it',
  ],
  'cluster-network-over-the-subnet': [
    '44:17: k3s.cluster_cidr: 192.0.0.0/16 overlaps network.subnet 192.0.2.0/24; make them disjoint',
  ],
  'disk-smaller-than-the-template': [
    "45:96: k3s.nodes[0].disk_gib: cp-01's disk of 50 GiB is smaller than the template's (64 GiB); give it at least 64, or make template.disk_gib smaller",
    "46:96: k3s.nodes[1].disk_gib: gpu-01's disk of 50 GiB is smaller than the template's (64 GiB); give it at least 64, or make template.disk_gib smaller",
    "47:99: k3s.nodes[2].disk_gib: worker-01's disk of 50 GiB is smaller than the template's (64 GiB); give it at least 64, or make template.disk_gib smaller",
  ],
  'duplicate-export-name': [
    '40:17: nas[0].exports[1].name: the name "data" is that of an export of unas already; give it another name',
    '51:33: storage_classes[1].export: unas/data may not be mounted by cp-01, gpu-01, worker-01 (its clients: proxmox); take an export for k3s, or add k3s to its clients',
  ],
  'duplicate-key': ['8:3: the key "gateway" is there already; take one of the two out'],
  'duplicate-name': [
    '47:15: k3s.nodes[2].name: the name "pve-02" is that of a Proxmox node already; give it another name',
  ],
  'duplicate-vmid': [
    '47:59: k3s.nodes[2].vmid: VMID 210 is used by both gpu-01 and worker-01; give one of them another',
  ],
  'etcd-snapshots-at-no-time': [
    '44:62: k3s.etcd_snapshots.schedule: "*/90 * * * *" is not a time of cron: Syntax error, steps cannot be greater than maximum value of part (60); write minute, hour, day of month, month and day of week, such as "0 3 * * *"',
  ],
  'etcd-snapshots-in-the-backup': [
    '44:46: k3s.etcd_snapshots.path: "postgresql/etcd" and backup.target.path "postgresql" of unas/data are the same folder, or one lies in the other; give each a folder of its own',
  ],
  'etcd-snapshots-of-others': [
    '44:29: k3s.etcd_snapshots.export: unas/vms may not be mounted by cp-01 (its clients: proxmox); take an export for k3s-servers, or add k3s-servers to its clients',
  ],
  'etcd-snapshots-that-keep-none': ['44:84: k3s.etcd_snapshots.keep: 0: must be at least 1; write 1 or more'],
  'export-for-others': [
    '51:33: storage_classes[1].export: unas/vms may not be mounted by cp-01, gpu-01, worker-01 (its clients: proxmox); take an export for k3s, or add k3s to its clients',
  ],
  'first-server-that-is-an-agent': [
    '43:17: k3s.first_server: gpu-01 is an agent, and cannot start a cluster; take a server: cp-01',
  ],
  'gateway-address-given': [
    '11:32: network.hosts[0].address: address 192.0.2.1 is used by both gateway (router) and kvm-01 (host); give one of them another address',
  ],
  'gateway-in-a-range': [
    '7:12: network.gateway: 192.0.2.1 (gateway) is inside network.ranges.server 192.0.2.1-192.0.2.4; move network.ranges.server, or give gateway another address',
  ],
  'gateway-outside-the-subnet': [
    '7:12: network.gateway: 192.0.3.1 (gateway) is outside the subnet 192.0.2.0/24; correct the address, or network.subnet',
  ],
  'gpu-on-an-unknown-node': ['46:105: k3s.nodes[1].gpu: there is no GPU mapping "rtx4000"; known: rtx4000ada'],
  'gpu-on-another-node': [
    '46:105: k3s.nodes[1].gpu: the GPU rtx4000ada is on pve-01, and gpu-01 lives on pve-02; move gpu-01 to pve-01, or add rtx4000ada to the gpus of pve-02',
  ],
  'gpu-used-twice': [
    '46:105: k3s.nodes[1].gpu: the GPU rtx4000ada of pve-01 is used by both cp-01 and gpu-01; give it to one',
  ],
  'host-bits-set': ['6:11: network.subnet: 192.0.2.7/24 has host bits set; did you mean 192.0.2.0/24?'],
  'host-name-that-is-no-dns-name': [
    '47:15: k3s.nodes[2].name: "Worker_01" is not a host name; did you mean "worker-01"?',
  ],
  'iso-that-proxmox-renames': [
    '28:10: template.iso.url: "https://releases.ubuntu.com/24.04.3/ubuntu%20server.iso" must end with the name of an .iso; use letters, digits, ".", "_" and "-" in it',
  ],
  'k3s-version-that-is-none': [
    '42:12: k3s.version: "1.36.5" is not the form of a K3s version; did you mean "v1.36.5+k3s1"?',
  ],
  'label-that-is-none': [
    '47:113: k3s.nodes[2].labels["no label"]: "no label" is not the key of a label; write it like nvidia.com/gpu.present',
    '47:134: k3s.nodes[2].labels.tier: "a b" is not the value of a label; did you mean "a-b"?',
  ],
  'metallb-too-old-for-k3s': [
    '48:21: metallb.version: MetalLB 0.15.3 is too old for K3s v1.36.5+k3s1; take 0.16.0 or newer',
  ],
  'missing-key': ['6:3: network.gateway: is missing; add it: it must be a text'],
  'name-of-a-group': ['11:15: network.hosts[0].name: the name "k3s" stands for all K3s nodes; give it another name'],
  'network-address-given': [
    '11:32: network.hosts[0].address: 192.0.2.0 (kvm-01) is the network address of 192.0.2.0/24; give it another address',
  ],
  'no-default-storage-class': [
    '50:3: storage_classes: no class is the default; write `default: true` for exactly one, which a claim without a class gets',
  ],
  'not-a-mapping': ['1:1: is not a mapping of keys to values; start from the homelab.yaml of the toolkit'],
  'nul-byte': ['33:9: a NUL byte cannot be part of a value; take it out'],
  'overlapping-ranges': [
    '12:51: network.ranges.agent: 192.0.2.84-192.0.2.99 overlaps network.ranges.server 192.0.2.80-192.0.2.84; make them disjoint',
  ],
  'pool-over-a-dhcp-scope': [
    '48:35: metallb.pool: 192.0.2.200-192.0.2.220 overlaps network.dhcp[0] 192.0.2.150-192.0.2.200; make them disjoint',
  ],
  'pool-over-a-node': [
    '19:32: proxmox.nodes[1].address: 192.0.2.12 (pve-02) is inside metallb.pool 192.0.2.12-192.0.2.19; move metallb.pool, or give pve-02 another address',
  ],
  'pool-over-a-range': [
    '48:35: metallb.pool: 192.0.2.90-192.0.2.120 overlaps network.ranges.agent 192.0.2.85-192.0.2.99; make them disjoint',
  ],
  'cronjob-of-an-image-that-moves': [
    '62:26: backup.cronjob.node_image: "node" must be an image with its tag or digest, such as node:20.20.2-bookworm-slim; correct it',
    '62:48: backup.cronjob.postgres_image: "postgres:15-alpine" is for musl; take one of Debian (…-bookworm), of which the others are',
    '62:78: backup.cronjob.run_as: 0: must not be root; write 1 or more',
  ],
  'cronjob-that-no-node-can-mount': [
    '60:21: backup.target.export: unas/vms may not be mounted by any K3s node (its clients: proxmox), and backup.cronjob runs on one; add k3s, or some of its nodes, to its clients',
  ],
  'cronjob-of-a-name-that-is-too-long': [
    '64:15: backup.postgresql[0].name: "a-name-of-a-server-that-is-longer-than-forty-five" is too long for the name of a CronJob (at most 45 characters); give it a shorter name; its sets so far keep the old one',
  ],
  'postgresql-reached-in-two-ways': [
    '63:27: backup.postgresql[0].host: main has a host, and a namespace too; keep host for a server that is reached by TCP, or namespace and service for one of the cluster',
  ],
  'postgresql-that-cannot-be-reached': [
    '63:7: backup.postgresql[0]: how main is reached is missing: host, or namespace and service; add host for a server that is reached by TCP, or namespace and service for one of the cluster',
    '64:7: backup.postgresql[1]: how other is reached is missing: service; add host for a server that is reached by TCP, or namespace and service for one of the cluster',
  ],
  'postgresql-with-include-and-exclude': [
    '63:75: backup.postgresql[0].exclude: main has include and exclude; keep one: include names the only databases that are dumped, exclude those that are not',
  ],
  'postgresql-with-settings-for-nothing': [
    '63:85: backup.postgresql[0].databases.apps: "apps" is not under include, and so not dumped; did you mean "app"?',
    '64:85: backup.postgresql[1].databases.app: "app" is under exclude, and so not dumped; take it out of one of them',
  ],
  'proxmox-without-a-pin': [
    '17:7: proxmox.nodes[0]: pve-01 has no fingerprint, and there is no proxmox.ca_file: its certificate could not be verified; copy /etc/pve/pve-root-ca.pem and name it in proxmox.ca_file, or add the fingerprint',
    '18:7: proxmox.nodes[1]: pve-02 has no fingerprint, and there is no proxmox.ca_file: its certificate could not be verified; copy /etc/pve/pve-root-ca.pem and name it in proxmox.ca_file, or add the fingerprint',
  ],
  'range-outside-the-subnet': [
    '12:51: network.ranges.agent: 192.0.3.85-192.0.3.99 is outside the subnet 192.0.2.0/24; correct the range, or network.subnet',
  ],
  'range-that-ends-before-it-starts': [
    '12:21: network.ranges.server: 192.0.2.84-192.0.2.80 ends before it starts; did you mean 192.0.2.80-192.0.2.84?',
  ],
  'range-that-is-none': [
    '12:21: network.ranges.server: 192.0.2.80/29 is not a range, such as 10.20.11.80-10.20.11.84; write network.ranges.server as FIRST-LAST',
  ],
  'recipient-mistyped': [
    '60:63: backup.target.encrypt_to[0]: age1k5fz0qgv4u52…jsgq has a typing error, or is cut off: its check sum does not match; copy it again, whole: age-keygen -y FILE',
  ],
  'recipient-named-twice': [
    '60:127: backup.target.encrypt_to[1]: age1k5fz0qgv4u52…jsgf is there twice; take one out',
    '61:50: backup.second_target.encrypt_to: the sets of backup.target are encrypted already, and are copied as they are; take it out here; name all recipients in backup.target.encrypt_to',
  ],
  'recipient-of-ssh': [
    '61:51: backup.second_target.encrypt_to[0]: "ssh-ed25519 AAAA…IGpu" is no age recipient; write one that begins with "age1", from age-keygen; SSH keys and plugins are not supported',
  ],
  'recipient-that-is-secret': [
    '60:63: backup.target.encrypt_to[0]: is a secret key; whoever can read homelab.yaml could read the backups; write its public key (age-keygen -y FILE), and make a new pair if this file was shared',
  ],
  'redirect-without-a-namespace': [
    '57:15: ingress.middleware: "redirect@kubernetescrd" must be NAMESPACE-NAME@kubernetescrd, the namespace without "-"; correct it',
  ],
  'second-target-in-the-first': [
    '61:45: backup.second_target.path: "postgresql/copies" and backup.target.path "postgresql" of unas/data are the same folder, or one lies in the other: that would be no second copy; take another NAS, or a disk',
  ],
  'second-target-nowhere': [
    '61:18: backup.second_target: has neither export nor folder; write `export: NAS/EXPORT`, or `folder: /mnt/usb` for a disk that is mounted there',
  ],
  'second-target-that-is-none': [
    '61:28: backup.second_target.export: there is no export "unas/vm"; did you mean "unas/vms"?',
  ],
  'second-target-twice': [
    '61:18: backup.second_target: has both export and folder; write `export: NAS/EXPORT`, or `folder: /mnt/usb` for a disk that is mounted there',
  ],
  'secret-in-homelab-yaml': [
    '15:3: proxmox.token_secret: "token_secret" looks like a secret, and homelab.yaml is committed; put it into .env (see .env.example) and take it out here',
  ],
  'service-network-over-a-nas': [
    '42:3: k3s.service_cidr: 10.43.0.0/16 contains 10.43.0.20 (unas); take another network',
  ],
  'service-network-over-the-pods': [
    '44:17: k3s.service_cidr: 10.42.128.0/17 overlaps k3s.cluster_cidr 10.42.0.0/16; make them disjoint',
  ],
  'several-problems-of-form': [
    '6:3: network.gateway: is missing; add it: it must be a text',
    '36:11: nas[0].kind: "qnap" is not one of linux, synology, unifi; known: linux, synology, unifi',
    '46:7: k3s.nodes[2].memory_gib: is missing; add it: it must be a number',
    '46:71: k3s.nodes[2].cores: 0 is too small; write 1 or more',
    '46:74: k3s.nodes[2].memroy_gib: unknown key "memroy_gib"; did you mean "memory_gib"?',
    '54:10: ingress.email: "admin" is not an e-mail address; correct it',
  ],
  'several-problems': [
    '6:11: network.subnet: 192.0.2.7/24 has host bits set; did you mean 192.0.2.0/24?',
    '11:32: network.hosts[0].address: address 192.0.2.20 is used by both unas (NAS) and kvm-01 (host); give one of them another address',
    '26:15: template.build_node: there is no Proxmox node "pve-1"; did you mean "pve-01"?',
    '47:59: k3s.nodes[2].vmid: VMID 210 is used by both gpu-01 and worker-01; give one of them another',
  ],
  'storage-class-that-shares-folders': [
    '51:74: storage_classes[1].path: "{pvc-name}" has no {namespace}: two claims would share a folder; write "{namespace}-{pvc-name}"',
  ],
  'storage-class-without-an-export': [
    '51:5: storage_classes[1].export: is missing: only local-path, which K3s brings, needs none; add the export that nfs-client is on, such as unas/K3sStorage',
  ],
  'storage-that-holds-no-disks': [
    '31:12: template.storage: the storage local holds no images (its content: iso); take local-zfs',
  ],
  'subnet-that-is-none': [
    '6:11: network.subnet: 192.0.2.0 is not a network, such as 10.20.11.0/24; correct network.subnet',
  ],
  'taint-that-is-none': [
    '47:112: k3s.nodes[2].taints[0]: "-gpu:NoSchedule" is not the form of a taint, KEY=VALUE:EFFECT; write it like dedicated=gpu:NoSchedule',
    '47:131: k3s.nodes[2].taints[1]: "x..y/gpu=a:NoExecute" is not the form of a taint, KEY=VALUE:EFFECT; write it like dedicated=gpu:NoSchedule',
    '47:155: k3s.nodes[2].taints[2]: "gpu=_:NoSchedule" is not the form of a taint, KEY=VALUE:EFFECT; write it like dedicated=gpu:NoSchedule',
  ],
  'two-default-storage-classes': [
    '50:3: storage_classes: local-path and nfs-client are the default; write `default: true` for exactly one, which a claim without a class gets',
  ],
  'two-hosts-with-one-address': [
    '11:32: network.hosts[0].address: address 192.0.2.20 is used by both unas (NAS) and kvm-01 (host); give one of them another address',
  ],
  'unknown-export': ['51:33: storage_classes[1].export: there is no export "unas/date"; did you mean "unas/data"?'],
  'unknown-first-server': ['43:17: k3s.first_server: there is no server "cp-1"; did you mean "cp-01"?'],
  'unknown-host': ['39:55: nas[0].exports[0].clients[1]: there is no host "kvm-10"; did you mean "kvm-01"?'],
  'unknown-key': [
    '47:7: k3s.nodes[2].memory_gib: is missing; add it: it must be a number',
    '47:74: k3s.nodes[2].memroy_gib: unknown key "memroy_gib"; did you mean "memory_gib"?',
  ],
  'unknown-node': ['47:45: k3s.nodes[2].node: there is no Proxmox node "pve-03"; did you mean "pve-01"?'],
  'unknown-role': ['47:32: k3s.nodes[2].role: "agnet" is not one of server, agent; did you mean "agent"?'],
  'unknown-storage': ['31:12: template.storage: there is no storage "local-zsf"; did you mean "local-zfs"?'],
  'unknown-tag': ['2:7: Unresolved tag: !env; correct the YAML'],
  'vmid-of-a-template': [
    '47:59: k3s.nodes[2].vmid: VMID 9001 is used by both the template on pve-02 (template.vmid + 1) and worker-01; give one of them another',
  ],
  'wrong-type': [
    '2:7: name: must be a text, not 4; write it in quotes: "4"',
    '47:71: k3s.nodes[2].cores: must be a number, not "8"; write it without quotes: 8',
  ],
  'yaml-that-does-not-parse': [
    '9:3: Flow sequence in block collection must be sufficiently indented and end with a ]; correct the YAML',
  ],
};

const test = suite('homelab.yaml that is wrong');

for (const [name, lines] of Object.entries(SAID)) {
  test(name, () => {
    const text = readFileSync(join(FOLDER, `${name}.yaml`), 'utf8');
    assert.equal(
      problemsOf(() => parseConfig(text, 'homelab.yaml')),
      lines.map((line) => `homelab.yaml:${line}`),
    );
  });
}

test('every fixture is in the table, and is the small lab with one thing broken', () => {
  const names = readdirSync(FOLDER).map((name) => name.replace('.yaml', ''));
  assert.equal(names.sort(), Object.keys(SAID).sort());
  const small = new Set(readFileSync(SMALL, 'utf8').split('\n').slice(1));
  for (const name of names.filter((n) => n !== 'not-a-mapping' && n !== 'anchor-bomb')) {
    const own = readFileSync(join(FOLDER, `${name}.yaml`), 'utf8')
      .split('\n')
      .slice(1);
    const different = own.filter((line) => !small.has(line)).length;
    assert.ok(different <= (name.startsWith('several') ? 4 : 2), `${name} has ${different} lines of its own`);
  }
});

test('none of them starts anything', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
  const started: string[] = [];
  const script = command({
    name: 'anything',
    summary: 'Says that it was started',
    observe: async () => started.push('observe'),
    plan: () => noSteps,
  });
  try {
    for (const name of Object.keys(SAID)) {
      const file = join(folder, 'homelab.yaml');
      writeFileSync(file, readFileSync(join(FOLDER, `${name}.yaml`)));
      const { code, stderr } = await captured(() => main(script, ['--config', file]));
      assert.is(code, 2, name);
      assert.ok(stderr.startsWith(`error: ${file}:${SAID[name]?.[0]}`), `${name}: ${stderr}`);
    }
    assert.equal(started, []);
    assert.not(existsSync(join(folder, '.state')), 'nothing was written');
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('what has no end is refused at once', () => {
  const cases: [string, string][] = [
    ['brackets', '['.repeat(1_000_000)],
    ['brackets that close', `a: ${'['.repeat(5000)}${']'.repeat(5000)}`],
    ['lists in lists', '- '.repeat(50_000)],
    ['mappings in mappings', Array.from({ length: 1300 }, (_, i) => `${' '.repeat(i)}a:`).join('\n')],
  ];
  for (const [name, text] of cases) {
    const began = performance.now();
    assert.equal(
      problemsOf(() => parseConfig(text, 'homelab.yaml')),
      ['homelab.yaml:1:1: is nested too deeply; start from the homelab.yaml of the toolkit'],
      name,
    );
    assert.ok(performance.now() - began < 1000, name);
  }
});

const files = suite('homelab.yaml that cannot be read');
const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
files.after(() => rmSync(folder, { recursive: true }));

files('is not there', () => {
  const file = join(folder, 'nothing.yaml');
  assert.equal(refusal(file), {
    message: `${file}: there is no such file`,
    fix: 'copy the homelab.yaml of the toolkit, or name yours with --config',
  });
});

files('is a directory', () => {
  assert.equal(refusal(folder), {
    message: `${folder} is a directory`,
    fix: 'name the homelab.yaml in it with --config',
  });
});

files('is under a file', () => {
  const file = join(folder, 'x.yaml', 'homelab.yaml');
  writeFileSync(join(folder, 'x.yaml'), '');
  assert.match(refusal(file).message, /^.*x\.yaml\/homelab\.yaml: ENOTDIR/);
});

files('has 10 MB of garbage', () => {
  const file = join(folder, 'garbage.yaml');
  writeFileSync(file, Buffer.alloc(10_000_000, 'Z\0\xff:[', 'latin1'));
  assert.equal(refusal(file), {
    message: `${file} has 10000000 bytes; a homelab.yaml has at most 1048576`,
    fix: 'is it the right file?',
  });
});

files('has a megabyte of garbage', () => {
  const file = join(folder, 'small-garbage.yaml');
  writeFileSync(file, Buffer.alloc(1_000_000, 'Z\0\xff:;', 'latin1'));
  assert.match(refusal(file).message, /:1:1: /);
});

if (process.getuid?.() === 0) files.skip('is not readable: root reads everything');
else
  files('is not readable', () => {
    const file = join(folder, 'private.yaml');
    writeFileSync(file, readFileSync(SMALL), { mode: 0o000 });
    assert.equal(refusal(file), { message: `${file}: not readable by you`, fix: `chmod u+r ${file}` });
  });

function refusal(file: string): { message: string; fix?: string } {
  const { message, fix } = thrown(() => loadConfig(file));
  return { message, fix };
}

function problemsOf(work: () => unknown): string[] {
  return thrown(work).message.split('\n');
}

function thrown(work: () => unknown): UsageError {
  try {
    work();
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

test.run();
files.run();
