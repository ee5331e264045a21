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
  /** Requests are refused as if a privilege were missing. */
  | { kind: 'deny'; request: RequestMatch; path: string; privilege: string }
  /** The token is not accepted any more, as if it had been removed. */
  | { kind: 'auth' }
  /**
   * The connection is cut: before the request takes effect; after, so that its answer is lost; in the middle of the
   * answer, whose headers have arrived.
   */
  | { kind: 'drop'; request: RequestMatch; when: 'before' | 'after' | 'during' }
  /**
   * What the asked node says when it cannot pass a request on to the node that it is about. 595 means that nothing
   * was sent; with the others the request may have taken effect (`when: 'after'`) or not.
   */
  | { kind: 'gateway'; request: RequestMatch; status: GatewayStatus; when?: 'before' | 'after' }
  /** Tasks of a type take longer. */
  | { kind: 'slow-task'; type: string; ms: number }
  /** Tasks of a type that start while this is armed do not end while it is. */
  | { kind: 'hang-task'; type: string }
  /** Nothing is known of tasks of a type; their work goes on. */
  | { kind: 'vanish-task'; type: string }
  /** Tasks of a type fail. */
  | { kind: 'fail-task'; type: string; message: string }
  /** A VM is locked as by a backup. */
  | { kind: 'lock'; vmid: number; lock: string }
  /** Somebody holds the file that serialises changes of a VM: who wants it, gives up. */
  | { kind: 'file-lock'; vmid: number }
  /** A migration of a VM stops at what its disks are; the task's log says why. */
  | { kind: 'migrate-blocked'; vmid: number; why: string }
  /** What download-url fetches has another checksum than the one that it is told. */
  | { kind: 'bad-download' }
  /** A storage has no space left. */
  | { kind: 'fill'; storage: string; node?: string }
  /** A node's API does not answer, neither itself nor through the others. */
  | { kind: 'down'; node: string }
  /** A VM's guest agent does not answer. */
  | { kind: 'mute'; vmid: number }
  /** A VM boots with this address, and not with cloud-init's. */
  | { kind: 'dhcp'; vmid: number; address: string };

export type GatewayStatus = 502 | 595 | 596 | 599;

type Armed = { fault: Fault; left: number };

/** Faults that requests meet one at a time, and those that tasks meet. */
type OfRequest = 'slow' | 'deny' | 'auth' | 'drop' | 'gateway';
type OfTask = 'slow-task' | 'fail-task' | 'bad-download';

/** The faults of a lab. Tests and rehearsals set them by a name of their choice and clear them by it. */
export class Faults {
  readonly #armed = new Map<string, Armed>();

  /** @param times how often it strikes before it is over; what is a state (down, lock, hang-task, …) stays until it is cleared */
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
  strike<K extends OfRequest>(
    kind: K,
    method: string,
    path: string,
    where: (fault: Extract<Fault, { kind: K }>) => boolean = () => true,
  ): Extract<Fault, { kind: K }> | undefined {
    return this.#take(kind, (fault) => {
      const asked: Fault = fault;
      return (!('request' in asked) || meets(asked.request, method, path)) && where(fault);
    });
  }

  strikeTask<K extends OfTask>(kind: K, type: string): Extract<Fault, { kind: K }> | undefined {
    return this.#take(kind, (fault) => {
      const asked: Fault = fault;
      return !('type' in asked) || asked.type === type;
    });
  }

  isHanging(type: string): boolean {
    return this.#find('hang-task', (fault) => fault.type === type) !== undefined;
  }

  isUnknown(type: string): boolean {
    return this.#find('vanish-task', (fault) => fault.type === type) !== undefined;
  }

  isDown(node: string): boolean {
    return this.#find('down', (fault) => fault.node === node) !== undefined;
  }

  isFull(storage: string, node: string): boolean {
    const meant = this.#find('fill', (fault) => fault.storage === storage && (!fault.node || fault.node === node));
    return meant !== undefined;
  }

  isMute(vmid: number): boolean {
    return this.#find('mute', (fault) => fault.vmid === vmid) !== undefined;
  }

  lockOf(vmid: number): string | undefined {
    return this.#find('lock', (fault) => fault.vmid === vmid)?.lock;
  }

  isFileLocked(vmid: number): boolean {
    return this.#find('file-lock', (fault) => fault.vmid === vmid) !== undefined;
  }

  blockerOf(vmid: number): string | undefined {
    return this.#find('migrate-blocked', (fault) => fault.vmid === vmid)?.why;
  }

  addressOf(vmid: number): string | undefined {
    return this.#find('dhcp', (fault) => fault.vmid === vmid)?.address;
  }

  #find<K extends Fault['kind']>(
    kind: K,
    test: (fault: Extract<Fault, { kind: K }>) => boolean,
  ): Extract<Fault, { kind: K }> | undefined {
    for (const { fault } of this.#armed.values()) if (isKind(fault, kind) && test(fault)) return fault;
    return undefined;
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
