import { type ChildProcess, execFile } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { TOOLKIT } from '../lib/paths.ts';
import { nodeArgv } from './node-argv.ts';

/** Another version of K3s that a lab's mirror has. */
export const NEXT_VERSION = 'v1.37.1+k3s1';

export type Ran = { code: number; stdout: string; stderr: string };

/** The scripts of the toolkit on a lab, run as a person would, without a terminal. */
export type LabScripts = {
  /** Runs scripts/NAME.ts to its end. */
  script(name: string, ...args: string[]): Promise<Ran>;
  /** The same, on a clock that runs three hundred times as fast: what waits for minutes gives up within seconds. */
  hurried(name: string, ...args: string[]): Promise<Ran>;
  /** Starts the same, to do something to it, or to the lab, meanwhile. */
  launch(name: string, args: readonly string[], preload?: string): { child: ChildProcess; ended: Promise<Ran> };
  /** A script's plan, as --dry-run prints it with --json. */
  plannedBy(name: string, ...args: string[]): Promise<string[]>;
  /** Replaces text in homelab.yaml. */
  edit(from: string | RegExp, to: string): void;
};

/** @param env what their environment has besides PATH */
export function labScripts(configFile: string, env: Record<string, string>): LabScripts {
  const launch: LabScripts['launch'] = (name, args, preload) => {
    const options = { cwd: TOOLKIT, env: { PATH: process.env.PATH, ...env }, maxBuffer: 16 * 1024 * 1024 };
    let done: (ran: Ran) => void = () => {};
    const ended = new Promise<Ran>((resolve) => {
      done = resolve;
    });
    const [node = '', ...started] = nodeArgv(`scripts/${name}.ts`, ...(preload ? [preload] : []));
    const argv = [...started, ...args, '--config', configFile];
    const child = execFile(node, argv, options, (error, stdout, stderr) => {
      const code = error ? (typeof error.code === 'number' ? error.code : 1) : 0;
      done({ code, stdout, stderr });
    });
    return { child, ended };
  };
  const script: LabScripts['script'] = (name, ...args) => launch(name, args).ended;
  return {
    ...{ launch, script },
    hurried: (name, ...args) => launch(name, args, './test/fast-clock.ts').ended,
    plannedBy: async (name, ...args) => {
      const { stdout, stderr } = await script(name, '--dry-run', '--json', ...args);
      if (!stdout.startsWith('{')) throw new Error(stderr);
      return (JSON.parse(stdout) as { plan: { steps: { id: string }[] } }).plan.steps.map(({ id }) => id);
    },
    edit: (from, to) => {
      const before = readFileSync(configFile, 'utf8');
      const after = before.replace(from, to);
      if (after === before) throw new Error(`${from} is not in homelab.yaml`);
      writeFileSync(configFile, after);
    },
  };
}
