import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { crontabReport } from '../lib/render/crontab.ts';
import { smallLab } from './fixtures/lab.ts';

const test = suite('crontab');
const backup = { ...smallLab().backup!, schedule: '30 4 * * 0' };

function line(folder: string, configFile: string): string | undefined {
  return crontabReport(backup, folder, '/usr/bin/node', configFile).text.split('\n').at(-1);
}

test('runs at backup.schedule, from the folder of the toolkit', () =>
  assert.is(
    line('/srv/homelab', '/srv/lab/homelab.yaml'),
    '30 4 * * 0 cd /srv/homelab && /usr/bin/node --import tsx scripts/backup-postgres.ts run --yes --config /srv/lab/homelab.yaml',
  ));

test('names with blanks and per cent signs reach the shell', () =>
  assert.match(line("/srv/100% o'lab", '/x') ?? '', `cd '/srv/100\\% o'\\''lab' && `));

test.run();
