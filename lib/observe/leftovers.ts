import type { RunContext } from '../main.ts';
import type { Readers } from '../ports/types.ts';

/** How long a look waits for a program of an earlier, killed run: a template takes the better part of an hour. */
const LEFTOVER_SECONDS = 3600;

/**
 * Waits for the end of a program that a killed run left at work. Two at once would undo each other: a Packer that
 * fails deletes its VM, and a Terraform still writes its state.
 * @param argument a word of its command line that only this lab's has
 */
export async function endOfLeftover(
  program: string,
  argument: string,
  { exec, clock }: Pick<Readers, 'exec' | 'clock'>,
  { say }: Pick<RunContext, 'say'>,
): Promise<void> {
  const end = clock.now().getTime() + LEFTOVER_SECONDS * 1000;
  for (let told = false; clock.now().getTime() < end; told = true) {
    const { stdout } = await exec.run(['ps', '-A', '-o', 'pid=,args='], { deadline: 30 });
    const found = stdout.split('\n').find((line) => line.includes(program) && line.split(/\s+/).includes(argument));
    if (!found) return;
    if (!told)
      say(
        `waiting for the end of ${program}, which an earlier run left at work (process ${found.trim().split(/\s+/)[0]})`,
      );
    await clock.sleep(1);
  }
}
