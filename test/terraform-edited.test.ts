import { strict as assert } from 'node:assert';
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite } from 'uvu';
import { type ProvisionLab, startProvisionLab } from './provision-lab.ts';

/** Whole scripts where a person edited what they generate: said, and never lost. */
const test = suite('edits by hand below .state/');
let lab: ProvisionLab;
let folder: string;
test.before(async () => {
  lab = await startProvisionLab(['terraform', 'packer']);
  folder = join(lab.state, 'terraform');
});
test.after(async () => {
  assert.deepEqual(lab.pve.problems, []);
  await lab.close();
});

const VARIABLES = 'homelab.auto.tfvars.json';
const file = (name: string): string => readFileSync(join(folder, name), 'utf8');
const edited = (where = folder): string[] => readdirSync(where).filter((name) => name.includes('.edited'));

/** What a script says, on one line. */
async function said(code: number, script: string, ...args: string[]): Promise<string> {
  const outcome = await lab.run(script, ...args);
  assert.equal(outcome.code, code, outcome.stderr);
  return `${outcome.stdout} ${outcome.stderr}`.replaceAll(/\s+/g, ' ');
}

test("Packer's files: told while they are not needed, kept when they are written anew", async () => {
  await said(0, 'build-template');
  const packer = join(lab.state, 'packer');
  assert.deepEqual(edited(packer), []);
  const ours = readFileSync(join(packer, 'user-data'), 'utf8');
  appendFileSync(join(packer, 'user-data'), '# mine\n');
  const warning = /warning: \S+packer\/user-data was changed since it was generated; the next build writes it anew; /;
  assert.match(await said(0, 'build-template', '--check'), warning);
  assert.deepEqual(edited(packer), []);

  const text = readFileSync(lab.workspace.configFile, 'utf8');
  writeFileSync(lab.workspace.configFile, text.replace('timezone: UTC', 'timezone: Europe/Berlin'));
  assert.match(
    await said(0, 'build-template'),
    /user-data was changed since it was generated; it is written anew; your/,
  );
  assert.deepEqual(edited(packer), ['user-data.edited']);
  assert.equal(readFileSync(join(packer, 'user-data.edited'), 'utf8'), `${ours}# mine\n`);
  assert.match(readFileSync(join(packer, 'user-data'), 'utf8'), /Europe\/Berlin/);
});

test("Terraform's files: a look tells and writes nothing, a run keeps them, a second edit is kept beside", async () => {
  await said(0, 'provision');
  const ours = file(VARIABLES);
  const mine = ours.replace('"cores": 8', '"cores": 2');
  assert.notEqual(mine, ours);
  writeFileSync(join(folder, VARIABLES), mine);
  appendFileSync(join(folder, 'main.tf'), '# mine\n');
  writeFileSync(join(folder, 'override.tf'), '# somebody else reads this\n');

  const looked = await said(3, 'provision', '--check');
  assert.match(
    looked,
    /terraform\/homelab\.auto\.tfvars\.json was changed since it was generated; it is written anew; your version is kept as \S+homelab\.auto\.tfvars\.json\.edited;/,
  );
  assert.match(looked, /terraform\/main\.tf was changed since it was generated/);
  assert.match(looked, /terraform\/override\.tf is not of this toolkit, and Terraform reads it/);
  assert.deepEqual(edited(), []);
  assert.equal(file(VARIABLES), mine);

  const before = lab.pve.snapshot();
  await said(0, 'provision');
  assert.deepEqual(lab.pve.snapshot(), before, 'no VM was changed by the edit');
  assert.deepEqual(edited().sort(), [`${VARIABLES}.edited`, 'main.tf.edited']);
  assert.equal(file(VARIABLES), ours);
  assert.equal(file(`${VARIABLES}.edited`), mine);
  assert.match(file('main.tf.edited'), /# mine\n$/);
  assert.ok(!file('main.tf').includes('# mine'));

  writeFileSync(join(folder, VARIABLES), 'second edit');
  await said(0, 'provision');
  assert.equal(file(`${VARIABLES}.edited`), mine);
  assert.equal(file(`${VARIABLES}.edited.2`), 'second edit');
  assert.equal(file(VARIABLES), ours);
});

test('a change of homelab.yaml is no edit, and hashes that init found stay', async () => {
  const lock = file('.terraform.lock.hcl').replace(/constraints.*\n/, '$&  hashes = [\n    "h1:mine",\n  ]\n');
  writeFileSync(join(folder, '.terraform.lock.hcl'), lock);
  const text = readFileSync(lab.workspace.configFile, 'utf8');
  writeFileSync(lab.workspace.configFile, text.replace('cores: 8', 'cores: 6'));
  assert.ok(!(await said(0, 'provision')).includes('was changed since'));
  assert.match(file(VARIABLES), /"cores": 6/);
  assert.equal(file('.terraform.lock.hcl'), lock);
  assert.equal(edited().length, 3);
});

test.run();
