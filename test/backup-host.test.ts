import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { parse, stringify } from 'yaml';
import { podConfigText } from '../lib/backup/pod-config.ts';
import type { Config, PostgresServer } from '../lib/config/schema.ts';
import { openLab } from '../lib/lab-context.ts';
import { backupOf } from '../lib/lookup.ts';
import { smallText } from './fixtures/lab.ts';

/** `host` of a database server: what homelab.yaml knows by that name, for a machine and for a pod. */
const test = suite('backup.postgresql: host');
const folder = mkdtempSync(join(tmpdir(), 'homelab-'));
test.after(() => rmSync(folder, { recursive: true }));

for (const [what, host, dialled] of [
  ['one of network.hosts', 'kvm-01', '192.0.2.21'],
  ['a K3s node, by its lease', 'cp-01', '192.0.2.80'],
  ['a NAS', 'unas', '192.0.2.20'],
  ['a name that DNS may know', 'db-01', 'db-01'],
  ['a domain name', 'kvm-01.example.org', 'kvm-01.example.org'],
  ['an address', '192.0.2.7', '192.0.2.7'],
] as const)
  test(what, () => {
    const raw = parse(smallText()) as Config;
    const [{ namespace: _, service: __, ...server }] = raw.backup!.postgresql as [PostgresServer];
    raw.backup!.postgresql = [{ ...server, host }];
    writeFileSync(join(folder, 'homelab.yaml'), stringify(raw));
    const { config } = openLab(join(folder, 'homelab.yaml'), {}).lab;
    const pod = JSON.parse(podConfigText(config, backupOf(config), true)) as Pick<Config, 'backup'>;
    assert.equal(
      [config, pod].map(({ backup }) => backup?.postgresql[0]?.host),
      [dialled, dialled],
    );
  });
test.run();
