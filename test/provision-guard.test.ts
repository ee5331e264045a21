import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import type { ApplyContext } from '../lib/apply.ts';
import { noJournal } from '../lib/journal.ts';
import { LockStore } from '../lib/ledger/lockfile.ts';
import { provisionOperations } from '../lib/operations/provision.ts';
import { Secrets } from '../lib/secret.ts';
import { fakePorts } from './fixtures/ports.ts';
import { labOf } from './provision-fixture.ts';

/** The last look at Terraform's saved plan, between what was confirmed and what is applied. */
const test = suite('provision: the guard');
const lab = labOf({ leased: true });

/** Runs an operation on a saved plan that does `changes`. @returns what was said */
async function on(
  operation: string,
  changes: [name: string, actions: string[]][],
  { code = 0, values = { before: { name: 'a' }, after: { name: 'b' } } as object } = {},
): Promise<string[]> {
  const resource_changes = changes.map(([index, actions]) => ({
    type: 'proxmox_virtual_environment_vm',
    index,
    change: { actions, ...values },
  }));
  const ports = fakePorts({
    exec: { run: async () => ({ code, stdout: JSON.stringify({ resource_changes }), stderr: 'no such plan' }) },
  });
  const context: ApplyContext = {
    ...{ ports, secrets: new Secrets(), journal: noJournal, secretsFolder: '/secrets' },
    lock: new LockStore(lab.lock, lab.paths.lock, ports.files),
  };
  const said: string[] = [];
  const operations = provisionOperations(lab, {}, { say: (text) => said.push(text) });
  await operations[operation]?.(
    { folder: '/tf', file: 'apply.tfplan', ...{ destroyed: ['k3s-cp-02'], restarted: ['k3s-gpu-01'] } },
    context,
  );
  return said;
}

test('what was agreed to, and what loses nothing, passes', async () => {
  await on('guard', []);
  await on('guard', [
    ['k3s-cp-02', ['delete', 'create']],
    ['k3s-cp-01', ['update']],
    ['k3s-gpu-01', ['create']],
  ]);
});

test('anything else that goes stops the run, by name', async () => {
  for (const actions of [['delete'], ['delete', 'create'], ['create', 'delete']])
    await assert.rejects(
      on('guard', [
        ['k3s-cp-02', ['delete']],
        ['k3s-cp-01', actions],
      ]),
      /^HomelabError: Terraform would destroy k3s-cp-01, which was not shown before; no VM was changed$/,
    );
});

test('so does a restart of a VM that runs', async () => {
  const memory = (started: boolean): { values: object } => ({
    values: {
      before: { started, memory: [{ dedicated: 1024 }] },
      after: { started: true, memory: [{ dedicated: 2048 }] },
    },
  });
  const update: [string, string[]][] = [['k3s-cp-01', ['update']]];
  await assert.rejects(
    on('guard', update, memory(true)),
    /Terraform would restart k3s-cp-01, which was not shown before/,
  );
  await on('guard', update, memory(false));
  await on('guard', [['k3s-gpu-01', ['update']]], memory(true));
});

const lastSeen: [what: string, description: string, actions: string[], refused: boolean][] = [
  ['changed', 'homelab:other/db-01', ['update'], true],
  ['destroyed, as was agreed', 'homelab:other/db-01', ['delete'], true],
  ['made anew, as was agreed', 'homelab:other/db-01', ['delete', 'create'], true],
  ["this lab's own", 'homelab:homelab/k3s-cp-02', ['update'], false],
  ["nobody's", 'my web server', ['update'], false],
];
for (const [what, description, actions, refused] of lastSeen)
  test(`a VM that has another lab's mark by now stops it: ${what}`, async () => {
    const values = { values: { before: { description }, after: { description: 'homelab:homelab/k3s-cp-02' } } };
    const run = on('guard', [['k3s-cp-02', actions]], values);
    if (!refused) return void (await run);
    await assert.rejects(
      run,
      /Terraform would change k3s-cp-02, and its VM is db-01 of the lab "other" now; no VM was changed$/,
    );
  });

test('a plan that cannot be read stops it too', async () => {
  await assert.rejects(on('guard', [], { code: 1 }), /terraform show \/tf\/apply\.tfplan failed/);
});

test('after an import it is said what the next run would change', async () => {
  assert.deepEqual(await on('wouldChange', []), ['nothing would be changed in it: it is as homelab.yaml says']);
  const [said] = await on('wouldChange', [['k3s-cp-01', ['update']]]);
  assert.equal(said, 'the next run would\n  change k3s-cp-01 in place: name: a → b');
});

test.run();
