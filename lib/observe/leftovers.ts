import { type Poll, until } from '../deadline.ts';
import type { RunContext } from '../main.ts';
import type { Readers } from '../ports/types.ts';

/** How long a look waits for a program of an earlier, killed run: a template takes the better part of an hour. */
const LEFTOVER_SECONDS = 3600;

/**
 * Waits for the end of a program that a killed run left at work. Two at once would undo each other: a Packer that
 * fails deletes its VM, and a Terraform still writes its state.
 * @param argument a word of its command line that only this lab's has
 * @throws DeadlineError when it has not ended by then
 */
export async function endOfLeftover(
  program: string,
  argument: string,
  { exec, clock }: Pick<Readers, 'exec' | 'clock'>,
  { say }: Pick<RunContext, 'say'>,
): Promise<void> {
  let told = false;
  const look = async (): Promise<Poll<undefined>> => {
    const { stdout } = await exec.run(['ps', '-A', '-o', 'pid=,args='], { deadline: 30 });
    const found = stdout.split('\n').find((line) => line.includes(program) && line.split(/\s+/).includes(argument));
    if (!found) return { done: true, value: undefined };
    const seen = `process ${found.trim().split(/\s+/)[0]}`;
    if (!told) say(`waiting for the end of ${program}, which an earlier run left at work (${seen})`);
    told = true;
    return { done: false, seen };
  };
  await until(LEFTOVER_SECONDS, `the end of ${program}, which an earlier run left at work`, look, {
    ...{ first: 1, most: 1, sleep: clock.sleep },
  });
}
