import type { Certificate } from '../certificate.ts';
import type { KubeObject } from '../step.ts';

/**
 * The only ways to the outside. Each port has a reader half: `observe` gets Readers and so cannot
 * change anything. A missing or unreachable thing is a value here, not an exception; exceptions are
 * for defects and for writes that failed.
 */

/** What a command did. Output is bounded: `truncated` says when the middle was left out. */
export type Outcome = { code: number; stdout: string; stderr: string; truncated?: boolean };

export type CommandOptions = {
  stdin?: string | Uint8Array;
  /** Seconds until it is ended and a DeadlineError is thrown. */
  deadline?: number;
  sudo?: boolean;
};

/** An answer that may be "not reachable", with the reason in words, and what to do about it where that is known. */
export type Answer<T> = { ok: true; value: T } | { ok: false; reason: string; fix?: string };

// ---- programs on this machine

export type RunOptions = {
  cwd?: string;
  /** Added to a clean environment (PATH, HOME, LANG, TMPDIR and proxies are kept). */
  env?: Record<string, string>;
  stdin?: string | Uint8Array;
  deadline?: number;
  /** Once aborted, the program is killed: for when nobody waits for it any more. */
  signal?: AbortSignal;
  /** Called with each line as it comes, for progress. */
  onLine?: (line: string) => void;
};

export interface Exec {
  /** Runs argv without a shell. A program that is not there is exit code 127. */
  run(argv: readonly string[], options?: RunOptions): Promise<Outcome>;
  /** Absolute path of a program on PATH, or undefined. */
  which(program: string): string | undefined;
}

// ---- hosts, by SSH

/** A file of this machine, which an upload streams. Left out, its SHA-256 is what it has when the upload begins. */
export type LocalFile = { file: string; sha256?: string };

export type UploadOptions = {
  mode: string;
  owner?: string;
  sudo?: boolean;
  /** Seconds; default 300, and for a file of this machine half an hour. */
  deadline?: number;
};

export interface SshReader {
  /** Whether the host answers, with a host key that we know, to our key. */
  reachable(host: string): Promise<Answer<true>>;
  /**
   * Runs a command that changes nothing. An unreachable host, a sudo that refuses and a deadline that passes are
   * `ok: false`; a failing command is a code.
   */
  read(host: string, argv: readonly string[], options?: CommandOptions): Promise<Answer<Outcome>>;
  /** A file's text, or undefined when it is not there. */
  readFile(host: string, path: string, options?: { sudo?: boolean }): Promise<Answer<string | undefined>>;
  /** Round trips so far, by host. */
  roundTrips(): Record<string, number>;
  /** Opens a loopback port that leads, through `host`, to address:port. */
  forward(host: string, address: string, port: number): Promise<{ port: number; close(): Promise<void> }>;
}

export interface Ssh extends SshReader {
  /** Runs a command. @throws HomelabError when the host cannot be reached, the connection drops or sudo refuses; a failing command is a code. */
  run(host: string, argv: readonly string[], options?: CommandOptions): Promise<Outcome>;
  /**
   * Writes a file beside, compares what arrived, sets mode and owner, renames. A file of this machine is streamed.
   * @throws HomelabError with the cause; the old file is whole then, and alone
   */
  upload(host: string, path: string, content: string | Uint8Array | LocalFile, options: UploadOptions): Promise<void>;
  /** Records the key with which a host will be recognised; replaces exactly that host's. `key` is "ssh-ed25519 AAAA…". */
  learnHostKey(host: string, key: string): Promise<void>;
  /** Drops what our file has of a host that is gone; the next one at its address starts unknown. */
  forgetHostKey(host: string): Promise<void>;
}

// ---- Proxmox

export interface PveReader {
  /** GET. `ok: false` for an error that Proxmox answered (its text in `reason`) or an API that does not answer (status 0). */
  get<T>(
    path: string,
    params?: Record<string, string | number>,
  ): Promise<{ ok: true; value: T } | { ok: false; reason: string; fix?: string; status: number }>;
}

export interface Pve extends PveReader {
  /**
   * POST, PUT or DELETE, never sent twice. When the answer is a task (UPID), waits for it; when the answer was
   * lost, looks for the task that it has started, and waits for that.
   * @returns the answer's data, or the UPID of the finished task
   * @throws HomelabError with Proxmox's own words; a failed task's message has the end of its log
   */
  call(
    method: 'POST' | 'PUT' | 'DELETE',
    path: string,
    params?: Record<string, string | number | boolean>,
    deadline?: number,
  ): Promise<unknown>;
}

// ---- K3s, through `k3s kubectl` on a server

export type KubeKind = { apiVersion: string; kind: string };
export type KubeRef = KubeKind & { name: string; namespace?: string };

export interface KubeReader {
  /** Which server answers, or why none does. */
  reachable(): Promise<Answer<string>>;
  /** An object, or undefined when it (or its kind) is not there. @throws HomelabError when the API does not answer */
  get(ref: KubeRef): Promise<KubeObject | undefined>;
  /** Objects of a kind; empty when the kind is not known. */
  list(apiVersion: string, kind: string, namespace?: string): Promise<KubeObject[]>;
  /**
   * Objects of several kinds, of every namespace, in one round trip. Kinds that the cluster does not know have none.
   * `ok: false` when no server's API answers.
   */
  survey(kinds: readonly KubeKind[]): Promise<Answer<KubeObject[]>>;
}

export interface Kube extends KubeReader {
  /**
   * Server-side apply under the field manager `homelab`. `force`: fields that are others' are taken over.
   * @throws HomelabError with the API server's words
   */
  apply(objects: readonly KubeObject[], options?: { force?: boolean }): Promise<void>;
  /** Deletes and waits until they are gone; those that are not there are fine. */
  delete(refs: readonly KubeRef[], deadline?: number): Promise<void>;
  /** The end of a workload's log, for errors and proofs: `job/x`. */
  logs(namespace: string, workload: string, lines?: number): Promise<string>;
}

// ---- files of this machine

export type Mount = { target: string; source: string; type: string };

export interface FilesReader {
  /** Text of a file, or undefined when there is none. */
  text(path: string): Promise<string | undefined>;
  exists(path: string): Promise<boolean>;
  /** Names in a folder; empty when there is none. */
  list(path: string): Promise<string[]>;
  mode(path: string): Promise<number | undefined>;
  sha256(path: string): Promise<string | undefined>;
  /** Where a path leads through links, also where what they lead to is not there yet; undefined when nothing is there. */
  realPath(path: string): Promise<string | undefined>;
  /** Bytes that may still be written to the file system of `path`. */
  freeBytes(path: string): Promise<number>;
  /** The mount that holds `path`: what `findmnt --target` says. */
  mountOf(path: string): Promise<Mount | undefined>;
}

export interface Files extends FilesReader {
  /** Writes beside, fsyncs, renames, fsyncs the folder. Makes the folder. Default mode 0644. */
  write(path: string, content: string | Uint8Array, mode?: number): Promise<void>;
  remove(path: string): Promise<void>;
}

// ---- the network, from this machine

export type HttpAnswer = {
  status: number;
  headers: Record<string, string>;
  body: string;
  /** Names and issuer of the certificate that was shown, for https. */
  certificate?: { names: string[]; issuer: string; validTo: string; authorized: boolean };
};

export interface Net {
  /** The certificate that a TLS server shows (for `name`, where it has several), trusted or not; nothing is sent to it. */
  certificate(address: string, port: number, deadline?: number, name?: string): Promise<Answer<Certificate>>;
  /** One request to `address`, with `Host`/SNI of the URL; redirects are not followed. `client`: how we show who we are. */
  http(
    url: string,
    options: { address: string; deadline?: number; ca?: string; client?: { cert: string; key: string } },
  ): Promise<Answer<HttpAnswer>>;
  /**
   * Sends a text to a URL by POST, or, where there is none, asks for it by GET; redirects are not followed. Its
   * certificate must be trusted before anything is sent. A reason never holds the URL, which may be a secret.
   */
  send(url: string, options: { body?: string; deadline?: number }): Promise<Answer<{ status: number }>>;
  /** Whether something accepts a connection. */
  tcp(address: string, port: number, deadline?: number): Promise<Answer<true>>;
  /**
   * Fetches a file over https into `to`: written beside, its hash compared, renamed.
   * @returns its SHA-256
   * @throws HomelabError with both hashes when it is not the `sha256` that was expected; then `to` is untouched
   */
  download(url: string, to: string, options?: { sha256?: string; deadline?: number }): Promise<string>;
}

export interface Clock {
  now(): Date;
  sleep(seconds: number): Promise<void>;
}

/** What `observe` may use. */
export type Readers = {
  ssh: SshReader;
  pve: PveReader;
  kube: KubeReader;
  files: FilesReader;
  net: Pick<Net, 'http' | 'tcp' | 'certificate'>;
  exec: Exec;
  clock: Clock;
};

/** What `apply` and `verify` may use. Built lazily: a port that is not used costs nothing. */
export type Ports = {
  ssh: Ssh;
  pve: Pve;
  kube: Kube;
  files: Files;
  net: Net;
  exec: Exec;
  clock: Clock;
  /** Ends connections. */
  close(): Promise<void>;
};
