import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { findComponents } from '../lib/lab/components.ts';
import { realExec } from '../lib/ports/exec.ts';
import { type ProvisionLab, startProvisionLab } from './provision-lab.ts';
import { gate } from './pve-fixture.ts';

/** build-template with the Packer of this machine, against the emulator and a guest with a real shell. */
const test = suite('build-template with a real Packer');
const { packer } = await findComponents(realExec());
const gated = gate(test, 'packer', packer.state === 'real' ? undefined : `no Packer: ${packer.why}`);

async function says(lab: ProvisionLab, code: number): Promise<string> {
  const outcome = await lab.run('build-template');
  const said = `${outcome.stdout} ${outcome.stderr}`.replaceAll(/\s+/g, ' ');
  assert.equal(outcome.code, code, said);
  return said;
}

gated('a build that fails is named and leaves the ISO only; the same command then makes three templates', async () => {
  const lab = await startProvisionLab(['terraform']);
  try {
    lab.pve.faults.set('start', { kind: 'fail-task', type: 'qmstart', message: 'start failed: out of memory' });
    assert.match(await says(lab, 1), /packer ended with exit code 1.*start failed: out of memory/);
    const { vms, volumes } = lab.pve.snapshot();
    assert.deepEqual([vms, volumes.map(({ content }) => content)], [[], ['iso']]);

    lab.pve.faults.clear();
    assert.match(await says(lab, 0), /3 of 3 proofs hold/);
    assert.deepEqual(
      lab.pve.snapshot().vms.map(({ vmid, node, config }) => `${vmid} ${node} ${config.template}`),
      ['9000 pve-01 1', '9001 pve-02 1', '9002 pve-03 1'],
    );
    assert.match(await says(lab, 0), /nothing to do/);
    assert.deepEqual(lab.pve.problems, []);
  } finally {
    await lab.close();
  }
});

test.run();
