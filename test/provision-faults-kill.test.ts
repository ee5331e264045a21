import { strict as assert } from 'node:assert';
import { suite } from 'uvu';
import { parseState } from '../lib/plan/terraform-json.ts';
import {
  type FaultLab,
  only,
  type Run,
  startFaultLab,
  stateText,
  terraformMissing,
  terraformProcesses,
} from './provision-faults.ts';
import { gate } from './pve-fixture.ts';

/**
 * Terraform is killed (SIGKILL), alone or together with provision, at ten random moments of its apply. HOMELAB_SEED
 * repeats a run's moments.
 */
const KILLS = 10;
const seed = Number(process.env.HOMELAB_SEED ?? Date.now() % 100_000);
const STRANGER = 300;
/** From the start of an apply, in which three VMs are made, to the latest kill. */
const WINDOW_MS = 3500;

const test = suite('provision with the real Terraform: killed');
const withTerraform = gate(test, 'terraform', await terraformMissing());

withTerraform(`at ten moments, and run again, ends as an undisturbed one (HOMELAB_SEED=${seed})`, async () => {
  const lab = await startFaultLab(undefined, { latency: { clone: 800, start: 200 } });
  try {
    lab.pve.addStranger({ vmid: STRANGER, node: 'pve-02', name: 'web' });
    const others = only(lab.pve.snapshot(), [STRANGER]);
    await ends(lab.start());
    const whole = outcome(lab);

    const random = randoms(seed);
    for (let kills = 0, runs = 0; kills < KILLS; runs++) {
      assert.ok(runs < 4 * KILLS, `${kills} kills in ${runs} runs`);
      if (runs === 0) await lab.reset([STRANGER]);
      const run = lab.start(['--verbose']);
      let over = false;
      void run.ended.then(() => {
        over = true;
      });
      await Promise.race([run.said(/… terraform (apply|import)/), run.ended]);
      await new Promise((done) => setTimeout(done, random() * WINDOW_MS));
      if (over) {
        // It got to its end before its turn came: what all the others left is put right, and everything is begun anew.
        await ends(run);
        assert.deepEqual(outcome(lab), whole);
        await lab.reset([STRANGER]);
        continue;
      }
      if (kills % 2 === 1) run.child.kill('SIGKILL');
      for (const pid of await terraformProcesses(lab.state)) killGroup(pid);
      await run.ended;
      kills++;
      // The state is never half a file, whatever the moment.
      parseState(stateText(lab));
      assert.deepEqual(only(lab.pve.snapshot(), [STRANGER]), others);
    }
    await lab.converges();
    assert.deepEqual(outcome(lab), whole);
  } finally {
    await lab.close();
  }
});

/** VMs and their disks. The provider spells the agent's defaults out where it makes a VM, and not where it imports one. */
function outcome({ pve }: FaultLab): unknown {
  const { vms, volumes } = pve.snapshot();
  const agent = /^(1|enabled=1,fstrim_cloned_disks=0,type=virtio)$/;
  const config = (vm: (typeof vms)[number]) => ({
    ...vm.config,
    ...(agent.test(String(vm.config.agent)) && { agent: '1' }),
  });
  return { vms: vms.map((vm) => ({ ...vm, config: config(vm) })), volumes };
}

async function ends(run: Run): Promise<void> {
  const { code, text } = await run.ended;
  assert.equal(code, 0, text);
}

function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** A small linear congruential generator: the same seed gives the same moments. */
function randoms(from: number): () => number {
  let state = from;
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
    return state / 2_147_483_648;
  };
}

test.run();
