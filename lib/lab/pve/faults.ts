/** Requests that a fault is about. */
export type RequestMatch = {
  method?: string;
  /** Tested against the path behind /api2/json. */
  path?: RegExp;
};

/** What can be made to go wrong, on request and by name. */
export type Fault =
  /** Requests take longer. */
  | { kind: 'slow'; request: RequestMatch; ms: number }
  /** Tasks of a type take longer. */
  | { kind: 'slow-task'; type: string; ms: number }
  /** Requests are refused as if a privilege were missing. */
  | { kind: 'deny'; request: RequestMatch; path: string; privilege: string }
  /** The connection is cut before the request takes effect, or after, so that its answer is lost. */
  | { kind: 'drop'; request: RequestMatch; when: 'before' | 'after' }
  /** Tasks of a type fail. */
  | { kind: 'fail-task'; type: string; message: string }
  /** A VM is locked as by a backup. */
  | { kind: 'lock'; vmid: number; lock: string }
  /** A storage has no space left. */
  | { kind: 'fill'; storage: string; node?: string }
  /** A node's API does not answer, neither itself nor through the others. */
  | { kind: 'down'; node: string }
  /** A VM's guest agent does not answer. */
  | { kind: 'mute'; vmid: number };

type Armed = { fault: Fault; left: number };

/** The faults of a lab. Tests and rehearsals set them by a name of their choice and clear them by it. */
export class Faults {
  readonly #armed = new Map<string, Armed>();

  /** @param times how often it strikes before it is over; faults that are states (fill, down, lock, mute) stay */
  set(name: string, fault: Fault, times = Number.POSITIVE_INFINITY): void {
    this.#armed.set(name, { fault, left: times });
  }

  clear(name?: string): void {
    if (name === undefined) this.#armed.clear();
    else this.#armed.delete(name);
  }

  names(): string[] {
    return [...this.#armed.keys()];
  }

  /** The first fault of a kind that a request meets; counts as a strike. */
  strike<K extends 'slow' | 'deny' | 'drop'>(
    kind: K,
    method: string,
    path: string,
    where: (fault: Extract<Fault, { kind: K }>) => boolean = () => true,
  ): Extract<Fault, { kind: K }> | undefined {
    return this.#take(kind, (fault) => {
      const asked: Fault = fault;
      return 'request' in asked && meets(asked.request, method, path) && where(fault);
    });
  }

  strikeTask<K extends 'slow-task' | 'fail-task'>(kind: K, type: string): Extract<Fault, { kind: K }> | undefined {
    return this.#take(kind, (fault) => {
      const asked: Fault = fault;
      return 'type' in asked && asked.type === type;
    });
  }

  isDown(node: string): boolean {
    return this.#some('down', (fault) => fault.node === node);
  }

  isFull(storage: string, node: string): boolean {
    return this.#some('fill', (fault) => fault.storage === storage && (!fault.node || fault.node === node));
  }

  isMute(vmid: number): boolean {
    return this.#some('mute', (fault) => fault.vmid === vmid);
  }

  lockOf(vmid: number): string | undefined {
    for (const { fault } of this.#armed.values()) if (fault.kind === 'lock' && fault.vmid === vmid) return fault.lock;
    return undefined;
  }

  #some<K extends Fault['kind']>(kind: K, test: (fault: Extract<Fault, { kind: K }>) => boolean): boolean {
    return [...this.#armed.values()].some(({ fault }) => isKind(fault, kind) && test(fault));
  }

  #take<K extends Fault['kind']>(
    kind: K,
    test: (fault: Extract<Fault, { kind: K }>) => boolean,
  ): Extract<Fault, { kind: K }> | undefined {
    for (const [name, armed] of this.#armed) {
      const { fault } = armed;
      if (!isKind(fault, kind) || !test(fault)) continue;
      armed.left -= 1;
      if (armed.left <= 0) this.#armed.delete(name);
      return fault;
    }
    return undefined;
  }
}

function meets(request: RequestMatch, method: string, path: string): boolean {
  return (request.method ?? method) === method && (request.path === undefined || request.path.test(path));
}

function isKind<K extends Fault['kind']>(fault: Fault, kind: K): fault is Extract<Fault, { kind: K }> {
  return fault.kind === kind;
}
