import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { skewOf } from '../lib/observe/k3s.ts';
import { apiAnswer, FACTS_SCRIPT, parseFacts } from '../lib/observe/k3s-facts.ts';

const test = suite('k3s facts');
const root = mkdtempSync(join(tmpdir(), 'k3s-facts-'));
const empty = mkdtempSync(join(tmpdir(), 'k3s-facts-'));
test.after(() => {
  rmSync(root, { recursive: true });
  rmSync(empty, { recursive: true });
});

const METRICS = `# TYPE etcd_server_has_leader gauge
etcd_server_has_leader 0
etcd_network_known_peers{Local="a",Remote="a"} 1
etcd_network_known_peers{Local="a",Remote="b"} 1
etcd_network_known_peers{Local="a",Remote="gone"} 0
`;

/** The script as it is, with its absolute paths in a folder of ours; `systemctl` and `curl` are functions. */
function say(folder: string, files: string[] = []): string {
  const script = FACTS_SCRIPT.replaceAll(/(?<=[\s"=(])\/(?=(etc|usr|var|proc)\/)/g, `${folder}/`);
  const systemctl = 'systemctl() { case $1 in is-active) echo active ;; *) echo enabled ;; esac; }\n';
  const curl = `curl() { cat <<'END'\n${METRICS}END\n}\n`;
  return execFileSync('/bin/sh', ['-s', ...files], { input: systemctl + curl + script, encoding: 'utf8' });
}

function put(path: string, text: string, mode = 0o644): string {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, text);
  chmodSync(file, mode);
  return file;
}

test('an empty machine', () => {
  const { clock, freeKib, ...facts } = parseFacts(say(empty))!;
  assert.ok(Math.abs((clock ?? 0) - Date.now() / 1000) < 5);
  assert.is(freeKib, undefined, 'there is no /var/lib');
  const nothing = { hostname: undefined, machineId: undefined, version: undefined, config: undefined };
  assert.equal(facts, {
    ...{ ...nothing, dropIns: undefined, tokenHash: undefined, secretHash: undefined, startedWith: undefined },
    ...{ kubeconfigHash: undefined, leader: undefined, members: undefined, nvidia: undefined, files: {} },
    ...{ readOnly: false, units: {}, configPrivate: false, etcdData: false, joined: false },
  });
});

test('a server', () => {
  const token = 'f00d'.repeat(16);
  const hash = createHash('sha256').update(token).digest('hex');
  put('etc/hostname', 'k3s-cp-01\n');
  put('etc/machine-id', 'abc\n');
  put('proc/mounts', 'rootfs / rootfs rw 0 0\n/dev/sda2 / ext4 ro,relatime 0 0\ntmpfs /run tmpfs rw 0 0\n');
  put(
    'usr/local/bin/k3s',
    '#!/bin/sh\nif [ "$1" = kubectl ]; then echo "Warning: old" >&2; echo "{\\"items\\": []}"; exit; fi\necho "k3s version v1.36.5+k3s1 (7502ce6a)"\necho "go version go1.26"\n',
    0o755,
  );
  put('etc/systemd/system/k3s.service', '[Unit]\n');
  put('etc/rancher/k3s/config.yaml', `# grüße\nnode-name: k3s-cp-01\ntoken: "${token}"\n`, 0o600);
  put('etc/rancher/k3s/config.yaml.d/own.yaml', 'cluster-dns: 10.43.0.9\ntls-san+:\n  - x\n');
  put('etc/rancher/k3s/k3s.yaml', 'kind: Config\n');
  put('var/lib/homelab/k3s-config.sha256', 'stamp\n');
  put('var/lib/rancher/k3s/server/token', `K10abc0123::server:${token}\n`, 0o600);
  put('var/lib/rancher/k3s/server/db/etcd/member/wal/0.wal', 'x');
  put('var/lib/rancher/k3s/agent/client-kubelet.crt', 'x');
  const stdout = say(root);
  const { clock: _clock, freeKib, ...facts } = parseFacts(stdout)!;
  assert.ok((freeKib ?? 0) > 0);
  assert.equal(facts, {
    ...{ hostname: 'k3s-cp-01', machineId: 'abc', version: 'v1.36.5+k3s1', readOnly: true },
    units: { k3s: { state: 'active', enabled: true } },
    config: '# grüße\nnode-name: k3s-cp-01\n',
    dropIns: ['cluster-dns', 'tls-san'],
    ...{ configPrivate: true, tokenHash: hash, secretHash: hash, data: true, startedWith: 'stamp' },
    ...{ etcdData: true, leader: false, members: 2, joined: true, nvidia: undefined, files: {} },
    kubeconfigHash: createHash('sha256').update('kind: Config\n').digest('hex'),
  });
  assert.match(apiAnswer(stdout) ?? '', '{"items": []}');
});

test('a restore of etcd that is under way: its snapshot', () => {
  const restoring = (): string | undefined => parseFacts(say(root))!.restoring;
  const state = put('var/lib/homelab/etcd-restore/state', 'id=x\nsnapshot=mine-1\ntarget=y\nstage=aside\n');
  assert.is(restoring(), 'mine-1');
  writeFileSync(state, '');
  assert.is(restoring(), 'SNAPSHOT', 'a disk may have been full');
  rmSync(state);
  assert.is(restoring(), undefined);
});

test('an API server that cannot ask etcd has not said that there are no nodes', () => {
  const words = 'Unable to connect to the server: context deadline exceeded';
  put('usr/local/bin/k3s', `#!/bin/sh\necho '{"items": []}'\necho '${words}' >&2\nexit 1\n`, 0o755);
  assert.is(apiAnswer(say(root)), `${words}\n`);
});

test('a server that has a name for its member only was never let in', () => {
  rmSync(join(root, 'var/lib/rancher/k3s/server/db/etcd/member'), { recursive: true });
  put('var/lib/rancher/k3s/server/db/etcd/name', 'k3s-cp-01-1234');
  const { etcdData, leader } = parseFacts(say(root))!;
  assert.equal([etcdData, leader], [false, undefined]);
});

test('the token itself does not leave the host', () => assert.not.match(say(root), 'f00df00d'));

test('NVIDIA’s runtime: used, installed after the start, there before and not used', () => {
  const toml = put('var/lib/rancher/k3s/agent/etc/containerd/config.toml', 'version = 3\n');
  const nvidia = (): string | undefined => parseFacts(say(root))!.nvidia;
  assert.is(nvidia(), undefined);
  put('usr/bin/nvidia-container-runtime', '', 0o755);
  utimesSync(toml, 1000, 1000);
  assert.is(nvidia(), 'later');
  const soon = Date.now() / 1000 + 100;
  utimesSync(toml, soon, soon);
  assert.is(nvidia(), 'unseen');
  put('var/lib/rancher/k3s/agent/etc/containerd/config.toml', "runtimes.'nvidia'\n");
  assert.is(nvidia(), 'runtime');
});

test('hashes of files: read, unless they were noted with this size and time', () => {
  const file = put('var/lib/images.tar', 'images');
  const sha256 = createHash('sha256').update('images').digest('hex');
  const look = () => parseFacts(say(root, [file, join(root, 'absent')]))!.files;
  assert.equal(look(), { [file]: { sha256, noted: false } });
  const { size, mtimeMs } = statSync(file);
  const note = (time: number): string => put('var/lib/homelab/k3s-files', `beef ${size} ${time} ${file}\n`);
  note(Math.floor(mtimeMs / 1000));
  assert.equal(look(), { [file]: { sha256: 'beef', noted: true } });
  note(Math.floor(mtimeMs / 1000) - 1);
  assert.equal(look(), { [file]: { sha256, noted: false } });
});

test('output that was cut off is no facts', () => assert.is(parseFacts('hostname=x\nclock=1\n'), undefined));

const skews: [what: string, seconds: number, asked: number, answered: number, skew: number][] = [
  ['the same', 100, 100_000, 100_400, 0],
  ['a connection that took its time', 108, 100_000, 110_000, 0],
  ['ahead', 700, 100_000, 101_000, 599],
  ['behind', 10, 100_000, 101_000, -89],
];
for (const [what, seconds, asked, answered, skew] of skews)
  test(`a clock: ${what}`, () => assert.is(skewOf(seconds, asked, answered), skew));

test.run();
