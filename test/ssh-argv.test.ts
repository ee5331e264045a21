import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { type TestLab, testLab } from './hosts-lab.ts';
import { nastyInside } from './nasty.ts';

const test = suite('ssh: argv byte for byte');
let lab: TestLab;
let received: string[] = [];
const HOST = 'k3s-cp-01';

test.before(async () => {
  lab = await testLab();
  lab.world.programs.set('record', ({ argv, stdin }) => {
    received = argv.slice(1);
    return { code: 0, stdout: stdin };
  });
  await lab.start(HOST);
});
test.after(() => lab.close());

const words = fc.array(nastyInside, { minLength: 1, maxLength: 6 });

test('a tool of the host prints what was sent', async () => {
  await fc.assert(
    fc.asyncProperty(words, async (sent) => {
      const { stdout, stderr, code } = await lab.ssh.run(HOST, ['printf', '%s\\0', ...sent]);
      assert.equal({ stderr, code }, { stderr: '', code: 0 });
      assert.equal(stdout.split('\0').slice(0, -1), sent);
    }),
    { numRuns: 30 },
  );
});

test('a stand-in gets what was sent, through sudo too', async () => {
  await fc.assert(
    fc.asyncProperty(words, fc.boolean(), async (sent, sudo) => {
      const { code, stderr } = await lab.ssh.run(HOST, ['record', ...sent], { sudo });
      assert.equal({ code, stderr }, { code: 0, stderr: '' });
      assert.equal(received, sent);
    }),
    { numRuns: 20 },
  );
});

test('stdin arrives byte for byte, and the output comes back so', async () => {
  await fc.assert(
    fc.asyncProperty(nastyInside, async (sent) => {
      const { stdout } = await lab.ssh.run(HOST, ['cat'], { stdin: sent });
      assert.is(stdout, sent);
      assert.is((await lab.ssh.run(HOST, ['record', '-'], { stdin: sent })).stdout, sent);
    }),
    { numRuns: 12 },
  );
});

test('an upload keeps any content, in a file of any name', async () => {
  await fc.assert(
    fc.asyncProperty(
      nastyInside,
      nastyInside.filter((name) => !name.includes('/') && name !== '' && name !== '.'),
      async (content, name) => {
        const path = `/srv/names/${name}`;
        await lab.ssh.upload(HOST, path, content, { mode: '0640', sudo: true });
        assert.equal(await lab.ssh.readFile(HOST, path), { ok: true, value: content });
      },
    ),
    { numRuns: 12 },
  );
});

test.run();
