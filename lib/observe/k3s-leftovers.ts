import type { Answer, SshReader } from '../ports/types.ts';
import { LEFTOVERS } from '../render/k3s-uninstall.ts';
import { readPatiently } from './k3s.ts';

/** What is left of K3s on a host, a line each; empty: nothing. */
export async function readLeftovers(host: string, ssh: SshReader): Promise<Answer<string[]>> {
  const answer = await readPatiently(ssh, host, ['sh', '-s'], { stdin: LEFTOVERS, sudo: true, deadline: 60 });
  if (!answer.ok) return answer;
  const lines = answer.value.stdout.trim().split('\n');
  if (lines.pop() === 'end') return { ok: true, value: lines };
  const said = answer.value.stderr.trim().split('\n').at(-1) ?? '';
  return { ok: false, reason: `it answers, but cannot be looked at (sudo?): ${said}` };
}
