import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { $, type ProcessPromise } from 'zx/core';
import { HomelabError } from '../errors.ts';
import { openLab } from '../lab-context.ts';
import { TOOLKIT } from '../paths.ts';
import { buildPorts } from '../ports/index.ts';
import { quote } from '../quote.ts';
import { type RunLock, takeLock } from '../run-lock.ts';
import { LabCa } from './ca.ts';
import { allComponents, type Found } from './components.ts';
import { SAMPLE_DATABASE } from './databases.ts';
import { type EmbeddedLab, startLab } from './index.ts';
import { APPLICATION, ownersObjects } from './owner.ts';
import { componentTable, proofsOf, type RehearsalReport, readRuns, refusedDials, stepsOf } from './report.ts';
import { installTools } from './tools/index.ts';
import { makeWorkspace, type Workspace } from './workspace.ts';

/** Variables that the scripts of a rehearsal inherit: nothing of the caller's that could be a secret or a setting. */
const INHERITED = ['PATH', 'HOME', 'USER', 'LANG', 'TERM', 'TMPDIR', 'NO_COLOR', 'CI'];

/** One rehearsal: the embedded lab, and the same commands that an owner would type. */
export class Rehearsal {
  readonly #began = performance.now();
  readonly #configFile: string;
  readonly #folder: string;
  readonly #found: Found;
  readonly #say: (text: string) => void;
  readonly #aside: (work: () => Promise<void>) => Promise<void>;
  #workspace: Workspace | undefined;
  #lab: EmbeddedLab | undefined;
  #lock: RunLock | undefined;
  /** The make that is under way. */
  #making: ProcessPromise | undefined;
  #secondRunFrom = 0;
  #dryRunChangedNothing = true;

  /** @param options.root the folder in whose .state/rehearsal/ everything is made */
  constructor(options: {
    configFile: string;
    root: string;
    found: Found;
    say: (text: string) => void;
    /** Runs what talks on the terminal by itself. */
    aside: (work: () => Promise<void>) => Promise<void>;
  }) {
    this.#configFile = options.configFile;
    this.#folder = join(options.root, '.state', 'rehearsal');
    this.#found = options.found;
    this.#say = options.say;
    this.#aside = options.aside;
  }

  get workspace(): Workspace {
    if (!this.#workspace) throw new Error('the lab was not started');
    return this.#workspace;
  }

  get lab(): EmbeddedLab {
    if (!this.#lab) throw new Error('the lab was not started');
    return this.#lab;
  }

  async start(): Promise<void> {
    // A second rehearsal in this folder would clear away what the first one runs on.
    this.#lock = takeLock(`${this.#folder}.running`, 'rehearse');
    const ca = await LabCa.create();
    this.#workspace = makeWorkspace(this.#configFile, this.#folder, ca, this.#found);
    const standIns = (['terraform', 'packer'] as const).filter((tool) => this.#found[tool].state === 'stand-in');
    installTools(join(this.#workspace.folder, 'bin'), standIns);
    this.#lab = await startLab(this.#workspace, ca);
  }

  /** Ends the lab; with `keep` after the next Ctrl-C. */
  async close(keep: boolean): Promise<void> {
    if (keep && this.#lab) {
      this.#say(`\nthe lab runs on, for any target: make check CONFIG=${quote(this.#shownConfig())}\nCtrl-C ends it`);
      // A closed terminal counts too: PostgreSQL and the machines' files would stay otherwise.
      await new Promise((resolve) => {
        for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, resolve);
      });
    }
    // Of a rehearsal that is interrupted: what it started ends before what it runs on.
    await this.#making?.kill('SIGTERM').catch(() => {});
    await this.#making;
    await this.#lab?.close();
    this.#lock?.release();
  }

  /** `make plan`, and then the lab must be as it was. */
  async plan(): Promise<void> {
    const before = this.fingerprint();
    await this.make('plan');
    if (this.fingerprint() === before) return;
    this.#dryRunChangedNothing = false;
    throw new HomelabError('make plan changed the lab', { cause: 'a script changes something while it only looks' });
  }

  /** What the owner deploys by other means: an application, and a PostgreSQL Service. */
  async deployOwners(): Promise<void> {
    const { lab, secrets, settings } = openLab(this.workspace.configFile, {});
    const ports = buildPorts(lab, secrets, settings);
    try {
      await ports.kube.apply(ownersObjects(lab.config.backup?.postgresql ?? []));
    } finally {
      await ports.close();
    }
    await this.lab.databases.start();
  }

  /** An ingress for the owner's application, proven by a request to it. */
  async ingress(): Promise<void> {
    const { name, host, port } = APPLICATION;
    await this.make(
      'new-ingress',
      `${name} --host ${host(this.workspace.config.domain)} --service ${name} --port ${port} --apply`,
    );
  }

  /** The newest proven set of the first database beside the original. */
  async restore(): Promise<void> {
    const [server] = this.workspace.config.backup?.postgresql ?? [];
    if (server) await this.make('restore-postgres', `--server ${server.name} --database ${SAMPLE_DATABASE}`);
  }

  /** Everything once more; what it changes is counted. */
  async again(): Promise<void> {
    this.#secondRunFrom = readRuns(this.state).length;
    await this.make('up');
    await this.ingress();
    if (this.#found.postgresql.state !== 'real') return;
    await this.make('backup-postgres', '--if-stale');
    await this.make('backup-install');
  }

  /** Runs a make target of the toolkit on the rehearsal's lab; its talk goes to ours. @throws HomelabError when it fails */
  async make(target: string, args = ''): Promise<void> {
    await this.#aside(() => this.#make(target, args));
  }

  async #make(target: string, args: string): Promise<void> {
    this.#say(`\n$ make ${target}${args ? ` ARGS="${args}"` : ''}`);
    const argv = [
      'make',
      '--no-print-directory',
      '-C',
      TOOLKIT,
      target,
      `CONFIG=${this.#shownConfig()}`,
      'YES=1',
      `ARGS=${args}`,
    ];
    const env = Object.fromEntries(
      INHERITED.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name]]])),
    );
    // stdout of a script is its result; here it is part of the talk.
    this.#making = $({
      env,
      quote,
      prefix: 'exec ',
      shell: '/bin/sh',
      nothrow: true,
      stdio: ['ignore', 2, 'inherit'],
    })`${argv}`;
    const { exitCode } = await this.#making;
    this.#making = undefined;
    if (exitCode !== 0)
      throw new HomelabError(`make ${target} ended with exit code ${exitCode}`, {
        cause: 'what it said stands above',
        fix: `its journal is in ${this.state}/runs`,
      });
  }

  /** The rehearsal's homelab.yaml, from the toolkit's folder where it is inside: shorter to read and to type. */
  #shownConfig(): string {
    const path = relative(TOOLKIT, this.workspace.configFile);
    return path.startsWith('..') ? this.workspace.configFile : path;
  }

  /** A hash of all that a script could have changed: VMs, objects, files of hosts and NAS, and the lab's own. */
  fingerprint(): string {
    return createHash('sha256').update(JSON.stringify(this.lab.snapshot())).digest('hex');
  }

  /** Writes report.json. */
  report(): RehearsalReport {
    const runs = readRuns(this.state);
    const components = allComponents(this.#found);
    const report: RehearsalReport = {
      components: Object.fromEntries(Object.entries(components).map(([name, { state }]) => [name, state])),
      notes: Object.fromEntries(Object.entries(components).map(([name, { why }]) => [name, why])),
      steps: stepsOf(runs),
      proofs: proofsOf(runs),
      second_run_changes: stepsOf(runs.slice(this.#secondRunFrom)).filter((step) => step.changed).length,
      dry_run_changed_nothing: this.#dryRunChangedNothing,
      seconds: Math.round((performance.now() - this.#began) / 100) / 10,
      dials_refused: refusedDials(this.#folder).length,
    };
    writeFileSync(this.reportFile, `${JSON.stringify(report, null, 2)}\n`);
    return report;
  }

  get reportFile(): string {
    return join(this.#folder, 'report.json');
  }

  get state(): string {
    return join(this.#folder, '.state', this.workspace.config.name);
  }

  componentTable(): string {
    return componentTable(allComponents(this.#found));
  }
}
