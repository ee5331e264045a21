import { strict as assert } from 'node:assert';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite } from 'uvu';
import { HOW_TO_GET, readTool, type Tool } from '../lib/observe/tools.ts';
import { realExec } from '../lib/ports/exec.ts';

/** Fake programs, alone on PATH: whatever Terraform or Packer does, it is named. */
const test = suite('programs of this machine');
const folder = mkdtempSync(join(tmpdir(), 'homelab-tools-'));
test.after(() => rmSync(folder, { recursive: true, force: true }));
let count = 0;

type Fake = { name?: string; script: string; mode?: number };

/** What is seen of a program where `fakes` are all that is on PATH. */
async function seen(tool: Tool, fakes: Fake[], options?: { needed?: readonly number[]; deadline?: number }) {
  const bin = join(folder, `bin${count++}`);
  mkdirSync(bin);
  for (const { name = tool, script, mode = 0o755 } of fakes) {
    writeFileSync(join(bin, name), script);
    chmodSync(join(bin, name), mode);
  }
  return readTool(tool, realExec({ PATH: bin, HOME: folder }), options);
}
const sh = (script: string, more: Partial<Fake> = {}): Fake => ({ script: `#!/bin/sh\n${script}\n`, ...more });

const GOOD: [Tool, string, string][] = [
  ['terraform', "echo 'Terraform v1.11.4'; echo 'on linux_amd64'", '1.11.4'],
  ['terraform', "echo 'Terraform v1.9.0-rc1'", '1.9.0-rc1'],
  ['terraform', "printf 'Terraform v1.9.8\\non darwin_arm64\\n\\nYour version of Terraform is out of date!'", '1.9.8'],
  ['packer', "echo 'Packer v1.14.2'", '1.14.2'],
];
for (const [tool, script, version] of GOOD)
  test(`${tool} ${version}`, async () => assert.deepEqual(await seen(tool, [sh(script)]), { version }));

const BAD: [string, Tool, Fake[], RegExp][] = [
  ['missing', 'terraform', [], /^terraform is not installed$/],
  ['missing', 'packer', [], /^packer is not installed$/],
  [
    'missing, and OpenTofu is there',
    'terraform',
    [sh("echo 'OpenTofu v1.9.0'", { name: 'tofu' })],
    /^terraform is not installed; there is OpenTofu \(.*\/tofu\), which this toolkit was never tried with$/,
  ],
  ['OpenTofu by its name', 'terraform', [sh("echo 'OpenTofu v1.9.0'")], /\/terraform is OpenTofu 1\.9\.0, which this/],
  ['too old', 'terraform', [sh("echo 'Terraform v1.5.7'")], /^terraform 1\.5\.7 is older than 1\.9$/],
  ['of Debian', 'packer', [sh("echo 'Packer v1.6.6'")], /^packer 1\.6\.6 is older than 1\.10$/],
  [
    'crashing',
    'terraform',
    [sh('echo "panic: no" >&2; exit 2')],
    /^terraform version ended with exit code 2: panic: no$/,
  ],
  ['failing without a word', 'packer', [sh('exit 1')], /^packer version ended with exit code 1: it said nothing$/],
  ['killed', 'terraform', [sh('kill -9 $$')], /^terraform version ended with exit code 137: it said nothing$/],
  [
    'a namesake',
    'packer',
    [sh('echo "usage: packer [dict]"')],
    /\/packer does not say its version, but: usage: packer/,
  ],
  ['silent', 'terraform', [sh('exit 0')], /\/terraform does not say its version, but: nothing$/],
  [
    'garbage',
    'terraform',
    [sh('/usr/bin/head -c 100000 /dev/zero | /usr/bin/tr "\\0" x')],
    /does not say its version, but: /,
  ],
  [
    'not executable',
    'terraform',
    [sh('exit 0', { mode: 0o644 })],
    /^terraform cannot be started: .*[Pp]ermission denied/,
  ],
  ['without its interpreter', 'terraform', [{ script: '#!/no/such/thing\n' }], /\/terraform cannot be started: /],
];
for (const [name, tool, fakes, problem] of BAD)
  test(`${tool}, ${name}`, async () => {
    const found = await seen(tool, fakes);
    assert.match(found.problem ?? '', problem);
    assert.ok(found.fix?.includes(HOW_TO_GET[tool]), found.fix);
    assert.ok((found.problem ?? '').length < 500);
  });

test('one that hangs is ended', async () => {
  const found = await seen('terraform', [sh('exec /bin/sleep 60')], { deadline: 1 });
  assert.match(found.problem ?? '', /^terraform version did not end within 1 s$/);
});
test("Debian's Packer does, where the HCL is for it", async () => {
  assert.deepEqual(await seen('packer', [sh("echo 'Packer v1.6.6'")], { needed: [1, 6] }), { version: '1.6.6' });
});

test.run();
