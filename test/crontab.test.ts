import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { crontabReport } from '../lib/render/crontab.ts';
import { smallLab } from './fixtures/lab.ts';

const test = suite('crontab');
const backup = { ...smallLab().backup!, schedule: '30 4 * * 0' };

function lines(folder: string, configFile: string): string[] {
  const machine = { folder, node: '/usr/bin/node', configFile, runs: '/srv/lab/.state/small/runs' };
  return crontabReport(backup, machine).text.split('\n');
}
const job = (folder: string, configFile = '/x'): string =>
  lines(folder, configFile).find((line) => line.startsWith('30 4 * * 0 ')) ?? '';
const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/opt/homebrew/bin';

test('runs at backup.schedule, from the folder of the toolkit, quietly', () =>
  assert.is(
    job('/srv/homelab', '/srv/lab/homelab.yaml'),
    `30 4 * * 0 cd /srv/homelab && PATH=${PATH} /usr/bin/node --import tsx scripts/backup-postgres.ts run --yes --quiet --config /srv/lab/homelab.yaml`,
  ));

test('every line but the job, and the zone that must stand before it, is a comment', () => {
  const others = lines('/srv/homelab', '/x').filter((line) => !line.startsWith('#'));
  assert.equal(others, ['CRON_TZ=UTC', job('/srv/homelab')]);
});

test('says where the journals are, and what asks from outside', () => {
  const text = lines('/srv/homelab', '/x').join('\n');
  assert.match(text, /^# mail .*: \/srv\/lab\/\.state\/small\/runs$/m);
  assert.match(text, /^#30 12 \* \* \* cd \/srv\/homelab && .* status --quiet --config \/x$/m);
});

test('names with blanks and per cent signs reach the shell', () =>
  assert.match(job("/srv/100% o'lab"), `cd '/srv/100\\% o'\\''lab' && `));

test.run();
