import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { nasOf } from '../lib/backup/nas.ts';
import { lookAtTarget, markTarget, type TargetPlace } from '../lib/backup/target.ts';
import { realFiles } from '../lib/ports/files.ts';
import type { FilesReader, Mount } from '../lib/ports/types.ts';

/** What may be written to as a backup target, and what is refused. */
const target = suite('backup: target');
const folder = mkdtempSync(join(tmpdir(), 'homelab-test-'));
target.after(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;
const NAS = '10.20.11.10:/volume1/k3s-backups';
function place(more: Partial<TargetPlace> = {}): TargetPlace {
  const mount = join(folder, `mount-${count++}`);
  mkdirSync(mount);
  return {
    ...{ sources: [NAS, 'synology:/volume1/k3s-backups'], folder: mount, root: join(mount, 'postgresql') },
    ...{ key: 'backup.target', requireNfs: false, lab: 'homelab', exportRef: 'synology/k3s-backups' },
    memory: `${mount}.json`,
    ...more,
  };
}
const files = nasOf(realFiles(), 20);
const mounted = (mount: Mount | undefined): FilesReader => ({ ...files, mountOf: async () => mount });
const refusal = async (where: TargetPlace, reader: FilesReader = files): Promise<string> => {
  const state = await lookAtTarget(reader, where);
  return state.ok ? 'ok' : `${state.reason}; ${state.fix}`.replaceAll(folder, '');
};

target('an empty folder is a new target; once marked it is ours', async () => {
  const where = place();
  const state = await lookAtTarget(files, where);
  assert.ok(state.ok && state.sentinel === undefined);
  await markTarget(files, where, 'id-1');
  const again = await lookAtTarget(files, where);
  assert.is(again.ok && again.sentinel?.id, 'id-1');
});
target('what a NAS puts into every folder does not make it a used one', async () => {
  const where = place();
  mkdirSync(join(where.root, '@eaDir'), { recursive: true });
  assert.is(await refusal(where), 'ok');
});
target('a folder with something else in it', async () => {
  const where = place();
  mkdirSync(join(where.root, 'photos'), { recursive: true });
  assert.match(await refusal(where), /is not empty, and has no \.target\.json/);
});
target('a target that was ours and is empty now: it is not mounted', async () => {
  const where = place();
  await markTarget(files, where, 'id-1');
  rmSync(where.root, { recursive: true });
  assert.match(await refusal(where), /is empty, but this lab's backups were there/);
});
target("another lab's target", async () => {
  const where = place();
  await markTarget(files, { ...where, lab: 'other', memory: `${where.memory}.other` }, 'id-2');
  assert.match(await refusal(where), /belongs to the lab other, not to homelab/);
});
target('another target of the same lab', async () => {
  const where = place();
  await markTarget(files, where, 'id-1');
  writeFileSync(join(where.root, '.target.json'), JSON.stringify({ id: 'id-2', lab: 'homelab', created: '' }));
  assert.match(await refusal(where), /has the id id-2; this lab's backups went to a target with the id id-1/);
});
target('a damaged sentinel', async () => {
  const where = place();
  await markTarget(files, where, 'id-1');
  writeFileSync(join(where.root, '.target.json'), '{');
  assert.match(await refusal(where), /\.target\.json is damaged/);
  // What it says to do, done as it stands there.
  const { fix } = (await lookAtTarget(files, where)) as { fix: string };
  execFileSync('sh', ['-c', fix.replace(/^write it anew: /, '')]);
  assert.is(await refusal(where), 'ok');
});
target('a mount point that is not there, or is not named', async () => {
  assert.match(await refusal(place({ folder: join(folder, 'nope') })), /^\/nope is not there; make it and mount/);
  assert.match(await refusal(place({ folder: undefined })), /does not say where synology\/k3s-backups is mounted/);
});

const nfs = (source: string, type = 'nfs4'): Mount => ({ target: '/mnt', source, type });
for (const [what, mount, expected] of [
  ['the export', nfs(NAS), /^ok$/],
  ['the export by its name', nfs('synology:/volume1/k3s-backups', 'nfs'), /^ok$/],
  ['the local disk', nfs('/dev/sda1', 'ext4'), /is not the NAS: \/dev\/sda1 \(ext4\) is mounted there/],
  ['another export', nfs('10.20.11.10:/volume1/photos'), /is not the NAS: 10\.20\.11\.10:\/volume1\/photos/],
  ['the same path by another protocol', nfs(NAS, 'cifs'), /is not the NAS/],
  ['nothing', undefined, /is not the NAS: nothing is mounted there/],
] as const)
  target(`where NFS is required and ${what} is mounted`, async () =>
    assert.match(await refusal(place({ requireNfs: true }), mounted(mount)), expected),
  );

target.run();
