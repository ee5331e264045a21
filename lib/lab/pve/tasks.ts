import { AsyncLocalStorage } from 'node:async_hooks';
import { messageOf } from '../../errors.ts';
import { PveError } from './errors.ts';

export type Task = {
  upid: string;
  node: string;
  pid: number;
  pstart: number;
  starttime: number;
  endtime?: number;
  type: string;
  id: string;
  user: string;
  /** "OK", or the error's text; undefined while it runs. */
  exitstatus?: string;
  log: string[];
};

export type Log = (line: string) => void;

/** Workers. A task lives on the node on which it was started, and is asked for there. */
export class Tasks {
  readonly #tasks = new Map<string, Task>();
  readonly #current = new AsyncLocalStorage<Task>();
  #pid = 0x1000;

  /** Starts `work` and returns its UPID at once; what it throws becomes the exit status. */
  start(node: string, type: string, id: string, user: string, work: (log: Log) => Promise<void>): string {
    const pid = ++this.#pid;
    const pstart = pid * 16;
    const starttime = Math.floor(Date.now() / 1000);
    const hex = (n: number): string => n.toString(16).toUpperCase().padStart(8, '0');
    const upid = `UPID:${node}:${hex(pid)}:${hex(pstart)}:${hex(starttime)}:${type}:${id}:${user}:`;
    const task: Task = { upid, node, pid, pstart, starttime, type, id, user, log: [] };
    this.#tasks.set(upid, task);
    const log: Log = (line) => task.log.push(line);
    void this.#current
      .run(task, () => work(log))
      .then(
        () => this.#end(task, 'OK'),
        (error: unknown) => this.#end(task, messageOf(error).trim()),
      );
    return upid;
  }

  find(node: string, upid: string): Task {
    const task = this.#tasks.get(upid);
    if (!task || task.node !== node)
      throw new PveError(400, 'Parameter verification failed.', { upid: 'no such task' });
    return task;
  }

  /** The task whose work the caller is part of. */
  current(): Task | undefined {
    return this.#current.getStore();
  }

  list(node: string): Task[] {
    return [...this.#tasks.values()].filter((task) => task.node === node).reverse();
  }

  running(): Task[] {
    return [...this.#tasks.values()].filter((task) => task.exitstatus === undefined);
  }

  #end(task: Task, exitstatus: string): void {
    task.log.push(exitstatus === 'OK' ? 'TASK OK' : `TASK ERROR: ${exitstatus}`);
    task.exitstatus = exitstatus;
    task.endtime = Math.floor(Date.now() / 1000);
  }
}
