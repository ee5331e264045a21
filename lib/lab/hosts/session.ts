import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Duplex, Readable, Writable } from 'node:stream';
import { messageOf } from '../../errors.ts';
import { quote } from '../../quote.ts';
import type { ProgramResult, World } from '../types.ts';
import { environmentOf } from './environment.ts';
import { mapPath, mappedFolders, type PathMap, Refused, rootOf, standInsOf, unmapper } from './paths.ts';
import type { RunningHost } from './spec.ts';
import type { StandIns } from './standins.ts';
import { unmapStream } from './strip.ts';
import { type TranslateContext, translate, translateScript, translateWords } from './translate.ts';

export type SessionHost = { host: RunningHost; standIns: StandIns; world: World };
export type Ending = { code: number } | { signal: NodeJS.Signals };

/** Where a command of an SSH session reads from and writes to. */
export type Streams = { stdin: Readable; stdout: Writable; stderr: Writable };

let sessions = 0;

/** One command in a shell of its own, with the stand-ins that it calls. */
export class Session {
  readonly #host: RunningHost;
  readonly #standIns: StandIns;
  readonly #world: World;
  readonly #calls: string;
  readonly #map: PathMap;
  readonly #home: string;
  #scripts = 0;
  #child?: ChildProcess;

  constructor({ host, standIns, world }: SessionHost) {
    this.#host = host;
    this.#standIns = standIns;
    this.#world = world;
    this.#map = { folder: host.folder, mounts: host.mounts };
    this.#home = host.spec.user === 'root' ? '/root' : `/home/${host.spec.user}`;
    sessions += 1;
    this.#calls = join(standInsOf(host), 'calls', String(sessions));
    mkdirSync(this.#calls, { recursive: true });
  }

  /** Runs a command line as sshd hands it to the login shell. */
  async run(command: string, streams: Streams, environment: Record<string, string>): Promise<Ending> {
    try {
      this.#standIns.sync(this.#world.programs);
      const { line, script } = translate(command, this.#context(this.#home));
      if (script) {
        const text = (await collect(streams.stdin)).toString('utf8');
        writeFileSync(script, translateScript(text, this.#context(this.#home)));
      }
      return await this.#spawn(line, script === undefined, streams, environment);
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      streams.stderr.write(`lab: refused: ${error.message}\n`);
      return { code: 126 };
    } finally {
      rmSync(this.#calls, { recursive: true, force: true });
    }
  }

  /** Ends the command and all that it started. */
  kill(signal: NodeJS.Signals): void {
    const { pid } = this.#child ?? {};
    try {
      if (pid !== undefined && this.#child?.exitCode === null) process.kill(-pid, signal);
    } catch {
      // It has ended by itself.
    }
  }

  #spawn(line: string, withStdin: boolean, streams: Streams, given: Record<string, string>): Promise<Ending> {
    const { spec } = this.#host;
    const root = rootOf(this.#map);
    const child = spawn(spec.shell ?? '/bin/sh', ['-c', line], {
      cwd: root + this.#home,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'],
      env: { ...given, PATH: this.#standIns.path, ...environmentOf(spec, root, this.#home, this.#calls) },
    });
    this.#child = child;
    const [stdin, stdout, stderr, asked, answers] = child.stdio as [Writable, Readable, Readable, Readable, Duplex];
    for (const stream of [stdin, asked, answers]) stream.on('error', () => {});
    if (withStdin) streams.stdin.pipe(stdin);
    else stdin.end();
    const unmap = unmapper(this.#map);
    const pipeBack = (from: Readable, to: Writable): Promise<void> =>
      new Promise((done) => {
        const through = from.pipe(unmapStream(unmap, mappedFolders(this.#map)));
        through.on('end', done);
        // Nobody listens any more: what still comes is thrown away.
        streams.stdout.once('close', () => through.unpipe(to).resume());
        through.pipe(to, { end: false });
      });
    const output = Promise.all([pipeBack(stdout, streams.stdout), pipeBack(stderr, streams.stderr)]);
    void this.#serve(asked, answers);
    return new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', (code, signal) => {
        streams.stdin.unpipe(stdin);
        asked.destroy();
        answers.destroy();
        void output.then(() => resolve(signal ? { signal } : { code: code ?? 1 }));
      });
    });
  }

  /** Answers stand-ins, one after the other: they take turns by a lock. */
  async #serve(asked: Readable, answers: Writable): Promise<void> {
    for await (const id of createInterface({ input: asked })) {
      const answer = await this.#answer(join(this.#calls, id)).catch((error: unknown) => {
        writeFileSync(`${join(this.#calls, id)}.err`, `${messageOf(error)}\n`);
        return error instanceof Refused ? 'exit 126' : 'exit 70';
      });
      if (!answers.destroyed) answers.write(`${answer}\n`);
    }
  }

  /** @returns "exit CODE", or "exec" when the stand-in has to become the command in CALL.exec */
  async #answer(call: string): Promise<string> {
    const [file = '', ...args] = split(readFileSync(`${call}.argv`, 'utf8'));
    const env = Object.fromEntries(split(readFileSync(`${call}.env`, 'utf8')).map(assignment));
    const unmap = unmapper(this.#map);
    const cwd = unmap(env.PWD ?? rootOf(this.#map)) || '/';
    const { name, path } = this.#standIns.calledAs(file);
    if (!path && ['sh', 'bash', 'dash'].includes(name)) return this.#execShell(call, name, args, cwd);
    const program = path ? this.#installed(path) : this.#world.programs.get(name);
    if (typeof program === 'string') return this.#execScript(call, program, args);
    if (typeof program === 'number') {
      const said = program === 127 ? 'not found' : 'Permission denied';
      return this.#write(call, { code: program, stderr: `sh: 1: ${path}: ${said}\n` });
    }
    if (!program) return this.#write(call, { code: 127, stderr: `sh: 1: ${name}: not found\n` });
    const visible = Object.entries(env).filter(([key]) => !key.startsWith('HOMELAB_LAB_') && key !== 'PATH');
    const result = await program({
      host: this.#host,
      argv: [name, ...args.map(unmap)],
      env: Object.fromEntries(visible.map(([key, value]) => [key, unmap(value)])),
      cwd,
      stdin: existsSync(`${call}.in`) ? readFileSync(`${call}.in`, 'utf8') : '',
      root: env.HOMELAB_LAB_ROOT === '1',
    });
    this.#standIns.sync(this.#world.programs);
    return this.#write(call, result);
  }

  /** What an absolute path of the host runs: a Program, the file of a script, or the exit code of a failure. */
  #installed(path: string) {
    const root = realpathSync(rootOf(this.#map));
    let file: string;
    try {
      file = realpathSync(mapPath(path, this.#map));
    } catch {
      return 127;
    }
    if (!(lstatSync(file).mode & 0o111)) return 126;
    const { programs } = this.#world;
    const target = file.startsWith(`${root}/`) ? file.slice(root.length) : path;
    return (
      programs.get(path) ??
      programs.get(target) ??
      programs.get(basename(path)) ??
      programs.get(basename(target)) ??
      file
    );
  }

  #execScript(call: string, file: string, args: readonly string[]): string {
    const text = readFileSync(file, 'utf8');
    const shell = /^#! *(?:\/usr\/bin\/env +)?(?:\/[\w/]*\/)?(sh|bash|dash)\b/.exec(text)?.[1];
    if (!shell) return this.#write(call, { code: 126, stderr: `sh: 1: ${basename(file)}: Exec format error\n` });
    const copy = this.#newScript(basename(file));
    writeFileSync(copy, translateScript(text, this.#context(this.#home)));
    return this.#exec(call, `/bin/${shell} ${[copy, ...args].map(quote).join(' ')}`);
  }

  #execShell(call: string, name: string, args: readonly string[], cwd: string): string {
    const words = [name, ...args].map((value) => ({ raw: quote(value), value }));
    const { line, script } = translateWords(words, this.#context(cwd));
    if (!script) return this.#exec(call, line);
    const text = existsSync(`${call}.in`) ? readFileSync(`${call}.in`, 'utf8') : '';
    writeFileSync(script, translateScript(text, this.#context(cwd)));
    return this.#exec(call, `${line} < /dev/null`);
  }

  #exec(call: string, line: string): string {
    writeFileSync(`${call}.exec`, `rm -f "$call".*\nexec ${line}\n`);
    return 'exec';
  }

  #write(call: string, { code, stdout = '', stderr = '' }: ProgramResult): string {
    writeFileSync(`${call}.out`, stdout);
    writeFileSync(`${call}.err`, stderr);
    return `exit ${code}`;
  }

  #context(cwd: string): TranslateContext {
    return {
      ...this.#map,
      cwd,
      runner: (path) => this.#standIns.runner(path),
      newScript: () => this.#newScript('stdin'),
      copyScript: (original, rewrite) => {
        const file = mapPath(original, this.#map);
        if (!existsSync(file) || !lstatSync(file).isFile()) return file;
        const copy = this.#newScript(basename(original));
        writeFileSync(copy, rewrite(readFileSync(file, 'utf8')));
        return copy;
      },
    };
  }

  /** A file of this session, removed with it. */
  #newScript(name: string): string {
    this.#scripts += 1;
    return join(this.#calls, `${this.#scripts}-${name.replaceAll(/[^\w.-]/g, '_')}`);
  }
}

/** All that comes; the stream stays open, for it is the channel of the answer too (`for await` would destroy it). */
function collect(stream: Readable): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    stream.on('data', (chunk: Buffer) => chunks.push(chunk));
    stream.on('end', () => resolve(Buffer.concat(chunks)));
    stream.on('error', reject);
  });
}

function split(text: string): string[] {
  return text.split('\0').slice(0, -1);
}

function assignment(line: string): [string, string] {
  const at = line.indexOf('=');
  return [line.slice(0, at), line.slice(at + 1)];
}
